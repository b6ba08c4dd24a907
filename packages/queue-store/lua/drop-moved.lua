#!lua flags=allow-oom
--[[
  drop-moved: messages that are away, and safe where they went, are deleted here.

  KEYS  records of those away   ARGV prefix, key of the writer's place or '', where it then stands, then per message: id, name of the move
  Returns how many were dropped, or -1: one is no longer away by that move, so none was dropped (only with a place).
  With a place, all or none, and the place moves in the same act. Safe to repeat.
  Source: DESIGN §5.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
local place, found = ARGV[2], {}
-- Done before, and the answer was lost.
if place ~= '' and call('GET', place) == ARGV[3] then return 0 end
for i = 4, #ARGV, 2 do
  local id = ARGV[i]
  local v = call('HMGET', away_key(id), 'mt', 'n', 'rg', 'c', 'lg')
  if v[1] == ARGV[i + 1] then
    found[#found + 1] = { id, v }
  elseif place ~= '' then
    return -1
  end
end
for _, each in ipairs(found) do
  local id, v = each[1], each[2]
  delete_record(id, v[2], v[3], v[4], v[5])
  call('UNLINK', away_key(id))
  call('HDEL', P .. ':why', id)
  zrem_later(P .. ':moving', id)
end
flush_indexes()
if place ~= '' then call('SET', place, ARGV[3], 'EX', 30 * 86400) end
return #found
