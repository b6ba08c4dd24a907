#!lua flags=allow-oom
--[[
  check-reasons: reasons of corrupt whose message is not there.

  KEYS[1] reasons   ARGV prefix, mend ('1' | ''), then ids
  Returns {{id, kind, text} …}
  Source: spec Q8 "corrupt".
]]
-- @include base
-- @include indexes
-- @include findings
for i = 3, #ARGV do
  local id = ARGV[i]
  local score = redis.pcall('ZSCORE', P .. ':q:corrupt', id)
  local v = redis.pcall('HGET', record_key(id), 'q')
  local is_there = type(score) == 'string' or type(v) == 'table' or v == 'corrupt'
  if not is_there and call('HEXISTS', KEYS[1], id) == 1 then
    find(id, 'reason', 'a reason is kept, but it is not in corrupt', function() call('HDEL', KEYS[1], id) end)
  end
end
return findings
