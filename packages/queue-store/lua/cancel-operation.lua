#!lua flags=allow-oom
--[[
  cancel-operation: asks that an operation end after its step. Whoever has it, or takes it next, ends it.

  KEYS[1] op:<id>   ARGV prefix
  Returns 1 | 0 it has ended, or there is none. Safe to repeat.
  Source: spec http-api.md §2 "/v1/operations".
]]
local state = redis.call('HGET', KEYS[1], 'state')
if state == 'cancelling' then return 1 end
if state ~= 'running' then return 0 end
redis.call('HSET', KEYS[1], 'state', 'cancelling')
return 1
