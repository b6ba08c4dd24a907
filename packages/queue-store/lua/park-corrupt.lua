#!lua flags=allow-oom
--[[
  park-corrupt: move a message that can't be read, or that crashes its readers, to corrupt, with the reason.

  KEYS[1] record   ARGV prefix, id, reason, fence or '', generation or ''
  Returns moved | stale (an operator has deleted it, or it is of another generation by now) | FENCED error. A key that is
          no record is kept under its name; the indexes name it.
  Source: spec Q8 "corrupt"; faults 39, 40.
]]
-- @include base
-- @include indexes
-- @include records
-- @include corrupt
if ARGV[4] ~= '' and call('GET', P .. ':fence') ~= ARGV[4] then
  return redis.error_reply('FENCED another leader was elected')
end
if call('EXISTS', KEYS[1]) == 0 then return 'stale' end
local answer = park_corrupt(ARGV[2], ARGV[3], ARGV[5])
flush_indexes()
flush_events()
return answer
