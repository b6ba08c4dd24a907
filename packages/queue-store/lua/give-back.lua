#!lua flags=allow-oom
--[[
  give-back: drop the claim of cleanup or bounce untouched; a sweep rings for the message again.

  KEYS[1] record   ARGV prefix, claim
  Returns 1 given back | 0 not ours
]]
-- @include base
local key = KEYS[1]
if call('HGET', key, 'cl') ~= ARGV[2] then return 0 end
call('HDEL', key, 'cl', 'cc')
return 1
