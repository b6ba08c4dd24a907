#!lua flags=allow-oom
--[[
  end-requests: record outcomes, which are facts, and end requests, which counts only from their claim and generation.

  KEYS  records   ARGV prefix, claim, then per result: id, number, generation, end ('tried' | 'putBack' | 'unreadable', or
                  'goesOn': outcomes of a request that has not ended; the leader hears of them with its end), feedback,
                  status, reason, sent, deferred, failed, those sent that owe a report, number of outcomes, then each:
                  recipient, kind, text, and what the timeline says beyond that (include/outcomes)
  Returns, per result: 1 ended | 0 it goes on, or was not ours any more | -1 the message is gone (nothing is made anew)
  Safe to repeat.
  Source: DESIGN §3 "Outcomes are facts"; spec Q3.
]]
-- @include base
-- @include indexes
-- @include records
-- @include outcomes
local claim, answers, i = ARGV[2], {}, 3
while i <= #ARGV do
  local id, number, generation, how = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local outcomes, count, goes_on = {}, tonumber(ARGV[i + 11]), how == 'goesOn'
  for k = 1, count do
    local at = i + 12 + (k - 1) * 4
    outcomes[k] = { ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3] }
  end
  local key, count_kept = record_key(id), count
  local v = read_for_outcomes(id, outcomes, 'R' .. number, 'o')
  local answer = 0
  if v.err or not v[1] then
    answer = -1
  else
    if not (tonumber(v[4]) and v[3]) then
      -- Damaged meanwhile: its neighbours' outcomes must not wait for it.
      how, outcomes, count_kept = 'unreadable', {}, 0
    end
    local request = not goes_on and parse_request(v[14] or '')
    local fields = count_kept > 0 and record_outcomes(id, outcomes, v) or {}
    if request and request.generation == generation and request.claim == claim then
      call('HDEL', key, 'R' .. number)
      fields[#fields + 1] = 'o'
      fields[#fields + 1] = drop_open(v[15], number)
      fields[#fields + 1] = 'la'
      fields[#fields + 1] = digits(now_ms)
      answer = 1
      if how ~= 'tried' then note('p\t' .. claim .. '\t' .. how .. '\t' .. id) end
    end
    call_long('HSET', key, fields, 6000)
  end
  if answer ~= 0 and not goes_on then
    tell_leader('ended', id, number, generation, how, ARGV[i + 7], ARGV[i + 8], ARGV[i + 9], ARGV[i + 4],
      ARGV[i + 5], ARGV[i + 6], '', ARGV[i + 10])
  end
  answers[#answers + 1] = answer
  i = i + 12 + count * 4
end
flush_indexes()
flush_events()
return answers
