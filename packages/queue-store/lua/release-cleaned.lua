#!lua flags=allow-oom
--[[
  release-cleaned: cleanup hands a message on: to incoming or hold with what it made of it, or away (discarded).

  KEYS[1] record   ARGV prefix, generation, claim, in-flow tokens in all, then the message as include/commit reads it (queue 'gone': discard)
  Returns {moved | already (made by this claim before) | stale | expired (content stored ahead is gone), 1 if the
          leader looks into incoming unrung, 1 if no in-flow token is left, 0 if some are, -1 if none was taken}
  The old content, recipients and claim go in the same act. Safe to repeat.
  Source: spec queues.md §3.4, S33, S34; DESIGN §3 "Moves".
]]
-- @include base
-- @include indexes
-- @include records
-- @include commit
-- @include opening
-- @include flow
local function answer(word, flow) return { word, leader_looks(), flow or -1 } end
local generation, claim = ARGV[2], ARGV[3]
cursor = 4
local m = read_commit()
local key = record_key(m.id)
local v = call('HMGET', key, 'q', 'g', 'cl', 'at', 'sd', 'ds', 'lg', 'n', 'rg', 'c', 'rn', 'by')
if not v[1] then return answer(m.queue == 'gone' and 'already' or 'stale') end
local target = digits(tonumber(generation) + 1)
if v[1] == m.queue and v[2] == target and v[12] == claim then return answer('already') end
if v[1] ~= 'maildrop' or v[2] ~= generation or v[3] ~= claim then return answer('stale') end
local old_total, old_round, old_content = tonumber(v[8]), v[9], v[10] or m.id
if m.queue == 'gone' then
  leave_queue('maildrop', m.id, v[5], v[6], v[7])
  delete_record(m.id, old_total, old_round, old_content, v[7])
  flush_indexes()
  return answer('moved')
end
if not keep_staged(m, target) then return answer('expired') end
leave_queue('maildrop', m.id, v[5], v[6], v[7])
-- Recipient numbers are never reused once a request named them: an old 250 must not mark a new address done.
local base = v[11] and old_total or 0
local gone = { 'cl', 'cc', 'fl', 'rr', 'su', 'sr' }
for number = 0, math.min(old_total, recipients_per_chunk) - 1 do
  gone[#gone + 1] = digits(number)
  gone[#gone + 1] = 's' .. digits(number)
end
call_long('HDEL', key, gone, 4000)
for number = recipients_per_chunk, old_total - 1, recipients_per_chunk do
  call('UNLINK', recipient_key(m.id, number, old_round))
end
local large = m.summary == '*'
if v[7] then call('UNLINK', domains_key(m.id, old_round)) end
local fields = {
  'q', m.queue, 'g', target, 'qe', digits(now_ms), 'sz', m.size, 'ch', m.chunks, 'c', m.content, 'e', m.envelope,
  'sd', m.sender_domain, 'n', base + m.total, 'u', m.undone, 'ds', large and '' or m.summary, 'rg', target,
  'by', claim,
}
if m.total > m.undone then
  fields[#fields + 1] = 'fl'
  fields[#fields + 1] = m.total - m.undone
end
for i, value in ipairs(m.recipients) do
  fields[#fields + 1] = digits(base + i - 1)
  fields[#fields + 1] = value
end
for _, pair in ipairs(m.failed) do
  fields[#fields + 1] = 's' .. digits(base + tonumber(pair[1]))
  fields[#fields + 1] = pair[2]
end
call_long('HSET', key, fields, 6000)
if large then
  call('HSET', key, 'lg', '1')
else
  call('HDEL', key, 'lg')
end
if m.is_inline then call('HSET', P .. ':c:' .. m.content, '0', m.inline) end
if old_content ~= m.content then drop_content(old_content) end
enter_queue(m.queue, m.id, v[4], m.sender_domain, m.summary, large)
flush_indexes()
return answer('moved', take_tokens(m.queue == 'incoming' and 1 or 0, tonumber(ARGV[4])))
