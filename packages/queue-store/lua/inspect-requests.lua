#!lua flags=no-writes
--[[
  inspect-requests: where delivery requests stand.

  KEYS  records   ARGV prefix, then per request: id, number
  Returns, per request, its text as include/records describes it, or '' when it has ended or its message is gone.
]]
-- @include base
local found = {}
for i = 2, #ARGV, 2 do
  found[#found + 1] = call('HGET', record_key(ARGV[i]), 'R' .. ARGV[i + 1]) or ''
end
return found
