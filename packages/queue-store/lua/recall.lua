#!lua flags=allow-oom
--[[
  recall: messages that wait for room at a destination are due now, the longest waiting first.

  ARGV prefix, fence, name of the destination, most
  Returns {how many, ids looked at, how many still wait} | FENCED error. Ids of messages that no longer wait for it are
  dropped; the record says `sp` until its import, which tells the leader so.
  Source: spec S31.
]]
-- @include base
-- @include fence
-- @include surplus
local name, most = ARGV[3], tonumber(ARGV[4])
local flat = call('ZPOPMIN', surplus_key(name), most)
local recalled = 0
for i = 1, #flat, 2 do
  local id = flat[i]
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'q', 'sp')
  if not v.err and v[1] == 'deferred' and v[2] == name then
    call('HSET', key, 'due', digits(now_ms))
    call('ZADD', P .. ':due', now_ms, id)
    recalled = recalled + 1
  end
end
return { recalled, #flat / 2, call('ZCARD', surplus_key(name)) }
