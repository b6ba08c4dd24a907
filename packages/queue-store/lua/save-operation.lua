#!lua flags=allow-oom
--[[
  save-operation: keeps how far an operation is, holds it on, or gives it back, or ends it.

  KEYS[1] op:<id>   KEYS[2] opq   ARGV prefix, id, holder, progress, ms that it is held (0: given back),
  'done' | 'cancelled' | 'failed' or '', ms that an ended one is kept
  Returns 'saved' | 'cancelling': saved, and it is to end | 'lost': somebody else took it, or it has ended otherwise
  `vain` counts how often it was taken since its progress changed last.
  Safe to repeat: an end that is already this holder's is 'saved'.
  Source: spec http-api.md §2 "/v1/operations".
]]
-- @include base
local holder, ending = ARGV[3], ARGV[6]
local v = call('HMGET', KEYS[1], 'holder', 'state', 'progress')
if v[1] ~= holder then return 'lost' end
if v[2] ~= 'running' and v[2] ~= 'cancelling' then
  return v[2] == ending and 'saved' or 'lost'
end
call('HSET', KEYS[1], 'progress', ARGV[4], 'updated', digits(now_ms))
if v[3] ~= ARGV[4] then call('HDEL', KEYS[1], 'vain') end
if ending ~= '' then
  call('HSET', KEYS[1], 'state', ending)
  call('PEXPIRE', KEYS[1], ARGV[7])
  call('ZREM', KEYS[2], ARGV[2])
  return 'saved'
end
if ARGV[5] == '0' then call('HDEL', KEYS[1], 'holder') end
call('ZADD', KEYS[2], digits(now_ms + tonumber(ARGV[5])), ARGV[2])
return v[2] == 'cancelling' and 'cancelling' or 'saved'
