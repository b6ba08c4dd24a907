#!lua flags=allow-oom
--[[
  take-operation: takes an operation that nobody is at work on.

  KEYS[1] opq   ARGV prefix, holder (names this taking), ms that it is held
  Returns its id, or ''
  Who held it before and died is found out by time alone: its saves renewed the time, and are refused from now on.
  Asked again with the same holder (an answer that was lost) it takes another one; the first comes back when its time
  is over.
  Source: spec http-api.md §2 "/v1/operations".
]]
-- @include base
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now_ms), 'LIMIT', 0, 20)) do
  local key = P .. ':op:' .. id
  if call('EXISTS', key) == 0 then
    call('ZREM', KEYS[1], id)
  else
    call('HSET', key, 'holder', ARGV[2])
    call('HINCRBY', key, 'takes', 1)
    call('HINCRBY', key, 'vain', 1)
    call('ZADD', KEYS[1], digits(now_ms + tonumber(ARGV[3])), id)
    return id
  end
end
return ''
