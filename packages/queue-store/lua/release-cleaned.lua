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
local v = call('HMGET', key, 'q', 'g', 'cl', 'at', 'sd', 'ds', 'lg', 'n', 'rg', 'c', 'rn', 'by', 'sf')
if not v[1] then return answer(m.queue == 'gone' and 'already' or 'stale') end
local target = digits(tonumber(generation) + 1)
if v[1] == m.queue and v[2] == target and v[12] == claim then return answer('already') end
if v[1] ~= 'maildrop' or v[2] ~= generation or v[3] ~= claim then return answer('stale') end
local old_total, old_round, old_content = tonumber(v[8]), v[9], v[10] or m.id
if m.queue == 'gone' then
  because('cleanup')
  leave_queue('maildrop', m.id, v[5], v[6], v[7])
  delete_record(m.id, old_total, old_round, old_content, v[7], v[13])
  flush_indexes()
  return answer('moved')
end
-- Recipient numbers are never reused once a request named them: an old 250 must not mark a new address done.
m.base = v[11] and old_total or 0
if not keep_staged(m, target) then return answer('expired') end
leave_queue('maildrop', m.id, v[5], v[6], v[7])
local gone = { 'cl', 'cc', 'fl', 'rr', 'su', 'sr', 'fin' }
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
  'sd', m.sender_domain, 'sf', m.sender, 'n', m.base + m.total, 'u', m.undone, 'ds', large and '' or m.summary, 'rg', target,
  'by', claim,
}
recipient_fields(fields, m)
call_long('HSET', key, fields, 6000)
if large then
  call('HSET', key, 'lg', '1')
else
  call('HDEL', key, 'lg')
end
if m.is_inline then call('HSET', P .. ':c:' .. m.content, '0', m.inline) end
if old_content ~= m.content then drop_content(old_content) end
note_move(fmt('l\t%s\t%s\t%d', m.queue, m.size, m.total), m.id)
enter_queue(m.queue, m.id, v[4], m.sender_domain, m.summary, large)
if v[13] then leave_sender(v[13], m.id) end
enter_sender(m.sender, m.id, v[4])
flush_indexes()
return answer('moved', take_tokens(m.queue == 'incoming' and 1 or 0, tonumber(ARGV[4])))
