#!lua
--[[
  commit-messages: store new messages, each whole or not at all.

  KEYS  the record, content and taken keys of each message
  ARGV  prefix, identity, number of messages, in-flow tokens in all, then each as include/commit reads it
  Returns, per message: stored | already | expired; then 1 if the leader looks into incoming unrung; then
          1 if no in-flow token is left, 0 if some are, -1 if none was taken. IDENTITY error: this is not the store the caller knows.
  Another process sees a message only once it is complete: its record and its index entries appear together.
  Not resent by the caller: no reply means unknown (DESIGN §3). Refused at maxmemory (no allow-oom).
  Source: spec Q8, Q11, S33, S34; P1; DESIGN §3.
]]
-- @include base
-- @include indexes
-- @include commit
-- @include opening
-- @include flow
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
local answers, incoming = {}, 0
cursor = 4
for i = 1, tonumber(ARGV[3]) do
  local m = read_commit()
  answers[i] = commit_one(m)
  if answers[i] == 'stored' and m.queue == 'incoming' then incoming = incoming + 1 end
end
flush_indexes()
answers[#answers + 1] = leader_looks()
answers[#answers + 1] = take_tokens(incoming, tonumber(ARGV[4]))
return answers
