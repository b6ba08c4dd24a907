#!lua flags=no-writes
--[[
  sweep: entries whose ring may be lost: in maildrop, or owing a report, for longer than the caller allows.

  KEYS[1] index by time   ARGV prefix, older than ms, most ids
  Returns the ids whose record carries no live claim.
  Source: DESIGN §3 "Rings may be lost".
]]
-- @include base
local found = {}
for _, id in ipairs(call('ZRANGEBYSCORE', KEYS[1], '-inf', digits(now_ms - tonumber(ARGV[2])), 'LIMIT', 0, ARGV[3])) do
  local claim = redis.pcall('HGET', record_key(id), 'cl')
  if type(claim) ~= 'string' or call('EXISTS', P .. ':w:' .. claim) == 0 then found[#found + 1] = id end
end
return found
