#!lua flags=allow-oom
--[[
  trim-timeline: keeps the timelines within their bytes and their age, the oldest go first; makes them, or does away with them.

  KEYS[1] timeline   ARGV prefix, most bytes (0: there are to be none), retention ms, ms for which the others need not
          look, or '' to go on at once
  Returns 1 when there may be more to take away, else 0. Also 0 when another process looked a moment ago.
  Whole nodes of the stream go, so that each costs Redis next to nothing; the newest node stays.
  The size is that of the first 20 000 nodes, of the usual 4 KB, and so of all of them up to 80 MB.
  Source: spec parameters.md event_memory, event_retention; P9.
]]
-- @include base
local key, most, entries_per_step = KEYS[1], tonumber(ARGV[2]), 5000
if most == 0 then
  call('UNLINK', key)
  return 0
end
if ARGV[4] ~= '' and not call('SET', P .. ':timeline:seen', '1', 'NX', 'PX', ARGV[4]) then return 0 end
if call('EXISTS', key) == 0 then
  call('XADD', key, '*', 'e', '')
  return 0
end
local removed = call('XTRIM', key, 'MINID', '~', digits(now_ms - tonumber(ARGV[3])), 'LIMIT', entries_per_step)
local bytes = call('MEMORY', 'USAGE', key, 'SAMPLES', 20000)
if bytes > most then
  -- A little below it, since only whole nodes go.
  local left = math.floor(call('XLEN', key) * most / bytes * 15 / 16)
  removed = removed + call('XTRIM', key, 'MAXLEN', '~', left, 'LIMIT', entries_per_step)
end
return removed > 0 and 1 or 0
