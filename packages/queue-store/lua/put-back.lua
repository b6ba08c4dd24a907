#!lua flags=allow-oom
--[[
  put-back: messages that are away stand in their queues again; what was in active, in incoming.

  KEYS  records   ARGV prefix, then per message: id, name of the move
  Returns, per message: 1 put back | 0 it is not away by that move. Safe to repeat.
  Source: DESIGN §5.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
local function put_back(id, move)
  local v = call('HMGET', away_key(id), 'mt', 'q', 'g', 'at', 'sd', 'ds', 'lg', 'sf', 'due')
  if v[1] ~= move then return 0 end
  local key, queue = record_key(id), v[2] == 'active' and 'incoming' or v[2]
  call('RENAME', away_key(id), key)
  call('HDEL', key, 'mt', 'mto')
  call('HSET', key, 'q', queue, 'g', digits(tonumber(v[3]) + 1), 'qe', digits(now_ms))
  enter_queue(queue, id, v[4], v[5], v[6], v[7])
  if v[8] then enter_sender(v[8], id, v[4]) end
  if queue == 'deferred' then zadd_later(P .. ':due', v[9] or digits(now_ms), id) end
  zrem_later(P .. ':moving', id)
  return 1
end
because('put back')
local answers = {}
for i = 2, #ARGV, 2 do answers[#answers + 1] = put_back(ARGV[i], ARGV[i + 1]) end
flush_indexes()
return answers
