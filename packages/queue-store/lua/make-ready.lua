#!lua flags=allow-oom
--[[
  make-ready: messages that were restored here, not ready, appear in their queues.

  KEYS  records   ARGV prefix, identity, then per message: id, name of the move
  Returns, per message: ready | already (this move came to its end here before, whatever became of the message since) |
          absent (restore it again) | taken (another message of this id stands here). IDENTITY error as commit-messages.
  Another process sees a message only once it is complete. The mark `arrived` stays until forget-arrived. Safe to repeat.
  Source: DESIGN §5; P2.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end

local function make_ready(id, move)
  if call('GET', arrived_key(id)) == move then return 'already' end
  if is_taken(id) then return 'taken' end
  local key = coming_key(id)
  local v = call('HMGET', key, 'mt', 'wy', 'cs', 'rg', 'lg', 'c', 'ch')
  if v[1] ~= move then return 'absent' end
  local content, content_chunks = v[6] or id, tonumber(v[7])
  if not are_there(id, v[3], v[4], v[5], content, content_chunks) then
    call('DEL', key)
    return 'absent'
  end
  for _, each in ipairs(belongings(id, v[3], v[4], v[5], content_chunks > 0 and content or nil)) do
    call('PERSIST', each)
  end
  call('PERSIST', key)
  call('HDEL', key, 'mt', 'wy', 'cs')
  call('RENAME', key, record_key(id))
  enter_restored(id, v[2])
  call('SET', arrived_key(id), move, 'EX', arrived_life_seconds)
  return 'ready'
end

because('arrived')
local answers = {}
for i = 3, #ARGV, 2 do answers[#answers + 1] = make_ready(ARGV[i], ARGV[i + 1]) end
flush_indexes()
return answers
