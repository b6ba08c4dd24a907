#!lua flags=allow-oom
--[[
  create-operation: keeps an operation that any showq carries out.

  KEYS[1] op:<id>   KEYS[2] ops, all by id   KEYS[3] opq, those that have not ended, by when they may be taken, ms
  ARGV prefix, id, task, most that have not ended, most kept
  Fields: task, progress, state, created and updated ms, takes; holder while somebody has it; n:<act>, what was done.
  Returns 'created', also if it was created before | 'many'
  Of those kept too many, the oldest that ended go, some at a time; ids whose hash ran out go as well.
  Source: spec http-api.md §2 "/v1/operations".
]]
-- @include base
local id = ARGV[2]
if call('EXISTS', KEYS[1]) == 1 then return 'created' end
if call('ZCARD', KEYS[3]) >= tonumber(ARGV[4]) then return 'many' end
call('HSET', KEYS[1], 'task', ARGV[3], 'progress', '', 'state', 'running', 'created', digits(now_ms),
  'updated', digits(now_ms), 'takes', '0')
call('ZADD', KEYS[2], 0, id)
call('ZADD', KEYS[3], digits(now_ms), id)
local surplus = call('ZCARD', KEYS[2]) - tonumber(ARGV[5])
for _, oldest in ipairs(call('ZRANGE', KEYS[2], 0, 49)) do
  local key = P .. ':op:' .. oldest
  local has_ended = not call('ZSCORE', KEYS[3], oldest)
  if has_ended and (surplus > 0 or call('EXISTS', key) == 0) then
    call('DEL', key)
    call('ZREM', KEYS[2], oldest)
    surplus = surplus - 1
  end
end
return 'created'
