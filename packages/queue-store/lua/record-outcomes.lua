#!lua flags=allow-oom
--[[
  record-outcomes: outcomes that need no delivery (transports error and retry), decided by the leader.

  KEYS  record   ARGV prefix, id, then per outcome: recipient, kind ('s' | 't' | 'f'), text, what the timeline says
          beyond that (include/outcomes)
  Returns 1 | 0 the message is gone
]]
-- @include base
-- @include indexes
-- @include records
-- @include outcomes
local outcomes = {}
for i = 3, #ARGV, 4 do outcomes[#outcomes + 1] = { ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3] } end
local v = read_for_outcomes(ARGV[2], outcomes)
local there = not v.err and v[1] and tonumber(v[4]) and v[3]
if there then
  local fields = record_outcomes(ARGV[2], outcomes, v)
  fields[#fields + 1] = 'la'
  fields[#fields + 1] = digits(now_ms)
  call_long('HSET', record_key(ARGV[2]), fields, 6000)
end
flush_indexes()
return there and 1 or 0
