#!lua
--[[
  commit-messages: store new messages, each whole or not at all.

  KEYS  the record, content and taken keys of each message
  ARGV  prefix, identity, number of messages, then each as include/commit reads it
  Returns, per message: stored | already | expired; then 1 if the leader looks into incoming unrung. IDENTITY error:
          this is not the store the caller knows.
  Another process sees a message only once it is complete: its record and its index entries appear together.
  Not resent by the caller: no reply means unknown (DESIGN §3). Refused at maxmemory (no allow-oom).
  Source: spec Q8, Q11; P1; DESIGN §3.
]]
-- @include base
-- @include indexes
-- @include commit
-- @include opening
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
local answers = {}
cursor = 3
for i = 1, tonumber(ARGV[3]) do answers[i] = commit_one(read_commit()) end
flush_indexes()
answers[#answers + 1] = leader_looks()
return answers
