--[[
  timeline: what happened to messages, for `postmq events`; written by the scripts that make it happen.

    timeline   a stream; an entry's one field `e` holds lines "letter\tdetail\tdetail…\tid id id", and its own id the time

    a queue origin size recipients    accepted            l queue size recipients       cleaned
    v queue cause due reason          moved               g cause                       removed
    c worker destination              claimed             o worker what                 claimed by cleanup or bounce
    m                                 dot-sent            b worker                      ambiguous
    s address status relay reply      sent                t, f the same with a reason   deferred, failed
    n how many                        outcomes not told   p worker why                  put back
    w kind                            report owed         r kind number ids of reports  reported
    k what                            marked

  Changes are gathered and written at the end by flush_timeline(), as one entry however many messages they touch:
  that is why timelines are nearly free in a batch. Every move passes enter_queue or leave_queue of include/indexes, which
  note it, and flush_indexes ends with flush_timeline: a script that moves messages need only say why (`because`).

  Of a message that moves, leave_queue is followed by its enter_queue before another message's, and what is noted in other words
  (note_move) stands right before its enter_queue: so the last id of each kind is all that must be kept. (Tables of
  ids cost some 1 500 instructions a message each: Lua enlarges small ones at every doubling.)

  The stream is never made here: without it (event_memory = 0) nothing is written. Whatever is wrong with it must not
  fail the change itself, hence pcall. Source: spec parameters.md event_memory.
]]
local timeline_lines, timeline_groups, timeline_entered = {}, {}, {}
local timeline_cause, timeline_left, timeline_told = '', nil, nil
local lines_per_entry = 100

-- Why messages move from here on: one word, or two.
local function because(cause)
  if cause ~= timeline_cause then timeline_cause, timeline_entered = cause, {} end
end

-- A line of its own; it ends with the id.
local function note(line) timeline_lines[#timeline_lines + 1] = line end

-- Messages to which the same happened share a line. Returns that line's ids.
local function note_together(head, id)
  local ids = timeline_groups[head]
  if ids then
    ids[#ids + 1] = id
  else
    ids = { id, head = head }
    timeline_groups[head] = ids
    timeline_lines[#timeline_lines + 1] = ids
  end
  return ids
end

-- A move in other words than enter_queue's own.
local function note_move(line, id)
  note(line .. '\t' .. id)
  timeline_told = id
end

-- What left a queue and entered none is gone.
local function note_removed()
  if timeline_left then note_together('g\t' .. timeline_cause, timeline_left) end
  timeline_left = nil
end

local function note_left(id)
  if timeline_left then note_removed() end
  timeline_left = id
end

local function note_entered(queue, id)
  if timeline_left == id then timeline_left = nil end
  if timeline_told == id then return end
  local ids = timeline_entered[queue]
  if ids then
    ids[#ids + 1] = id
  else
    timeline_entered[queue] = note_together('v\t' .. queue .. '\t' .. timeline_cause, id)
  end
end

-- A detail in one line; most come from where no control character gets through.
local function detail(text, most)
  return (string.gsub(string.sub(text, 1, most), '%c', '?'))
end

local function add_timeline(from, to)
  redis.pcall('XADD', P .. ':timeline', 'NOMKSTREAM', '*', 'e', table.concat(timeline_lines, '\n', from, to))
end

local function flush_timeline()
  note_removed()
  local n = #timeline_lines
  if n == 0 then return end
  for i = 1, n do
    local line = timeline_lines[i]
    if type(line) == 'table' then timeline_lines[i] = line.head .. '\t' .. table.concat(line, ' ') end
  end
  for from = 1, n, lines_per_entry do add_timeline(from, math.min(n, from + lines_per_entry - 1)) end
  timeline_lines, timeline_groups, timeline_entered, timeline_told = {}, {}, {}, nil
end
