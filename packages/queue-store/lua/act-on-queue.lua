#!lua flags=allow-oom
--[[
  act-on-queue: an operator's act on all of a queue, in steps.

  KEYS[1] the queue by arrival   KEYS[2] op:<id>, or none: where what was done is counted
  ARGV prefix, act, queue, cursor ('' at first), begun ms ('' at first), most messages, budget us, most work
  Returns {done, unreadable, seen, next cursor or '', begun ms, ids that were moved, for requeue}
  What entered the queue after the walk began is left alone: so it ends. What is there from the beginning is seen once,
  whatever comes and goes. Safe to repeat.
  Source: spec admin-tools.md §2 `ALL`; postsuper(1).
]]
-- @include base
-- @include indexes
-- @include records
-- @include surplus
-- @include corrupt
-- @include paging
-- @include acts
local act, queue, begun = ARGV[2], ARGV[3], tonumber(ARGV[5]) or now_ms
local budget_us, most_work = tonumber(ARGV[7]), tonumber(ARGV[8])
local queues, moved = { [queue] = true }, {}
local counts = { done = 0, unreadable = 0, absent = 0 }
local ids, next_cursor, scores = read_page(KEYS[1], ARGV[4], tonumber(ARGV[6]))
local seen = 0
for i, id in ipairs(ids) do
  local r = read_for_act(act, id)
  local answer = act_on(act, id, r, queues, begun)
  counts[answer] = counts[answer] + 1
  if act == 'requeue' and answer == 'done' then moved[#moved + 1] = id end
  seen = i
  if i < #ids and is_enough(1 + weight(r), budget_us, most_work) then
    next_cursor = scores[i] .. ' ' .. id
    break
  end
end
flush_indexes()
flush_events()
count_for(KEYS[2], act, counts.done)
return { counts.done, counts.unreadable, seen, next_cursor, digits(begun), moved }
