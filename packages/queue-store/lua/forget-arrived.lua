#!lua flags=allow-oom
--[[
  forget-arrived: the other side has dropped these: the marks that they came are no longer needed.

  KEYS  records   ARGV prefix, then per message: id, name of the move   Returns how many there were
  They stay for an hour yet: another process that is at the same move must not make it ready once more.
]]
-- @include base
local late_seconds = 3600
local forgotten = 0
for i = 2, #ARGV, 2 do
  local key = P .. ':arrived:' .. ARGV[i]
  if call('GET', key) == ARGV[i + 1] then forgotten = forgotten + call('EXPIRE', key, late_seconds) end
end
return forgotten
