#!lua flags=allow-oom
--[[
  act-on-messages: an operator's act on messages by id.

  KEYS  records, then op:<id>, where what was done is counted, or none   ARGV prefix, act, queues it takes them from ("deferred hold"), begun ms or '', budget us, most work, then ids
  Returns, per id: done | absent (in none of these queues, or entered it after `begun`) | unreadable (told too little for
          this act). Ends after those for which there was time, one at least: the caller goes on behind them.
  Safe to repeat: what was done is absent then. Two operators at once: the second finds it absent.
  Source: spec admin-tools.md §2, A1 to A4; queues.md §8; postsuper(1).
]]
-- @include base
-- @include indexes
-- @include records
-- @include surplus
-- @include corrupt
-- @include acts
local act, begun, budget_us, most_work = ARGV[2], tonumber(ARGV[4]) or math.huge, tonumber(ARGV[5]), tonumber(ARGV[6])
local queues = {}
for queue in string.gmatch(ARGV[3], '%a+') do queues[queue] = true end
local answers, done = {}, 0
-- Index changes wait for the end, so that an id that is there twice must not be acted on twice.
local seen = {}
for i = 7, #ARGV do
  local id = ARGV[i]
  local r = read_for_act(act, id)
  local answer = seen[id] and 'absent' or act_on(act, id, r, queues, begun)
  seen[id] = true
  answers[#answers + 1] = answer
  if answer == 'done' then done = done + 1 end
  if is_enough(1 + weight(r), budget_us, most_work) then break end
end
flush_indexes()
flush_events()
count_for(KEYS[#ARGV - 5], act, done)
return answers
