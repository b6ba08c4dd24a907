#!lua flags=allow-oom
--[[
  close-import: the leader has the imported messages in hand; none of them killed it.

  KEYS[1] opening   ARGV prefix, fence
  Returns 1 | FENCED error
]]
-- @include base
-- @include fence
-- One that carried a count was imported alone; it is innocent.
local opening = call('GET', KEYS[1])
if opening and not string.find(opening, ' ', 1, true) then redis.pcall('HDEL', record_key(opening), 'oc') end
call('DEL', KEYS[1])
return 1
