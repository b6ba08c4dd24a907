#!lua flags=no-writes
--[[
  count-ages: counts of a queue's domains by age of arrival, from the indexes.

  KEYS[1] domain names of the queue   ARGV prefix, queue, kind ('d' recipients | 's' senders), number of limits, limits:
          arrival must be above each to be in the bucket before it, falling; then the domains
  Returns, per domain, one count per bucket; then 1 if its extras are too many to be read here: the caller adds them.
  How many are older than a limit falls from limit to limit, so that limits between two with the same count need not be
  asked for: most domains have few ages.
  Source: spec A6, A7; DESIGN §3 "Indexes".
]]
-- @include base
local queue, kind, limits = ARGV[2], ARGV[3], tonumber(ARGV[4])
local bounds = {}
for b = 1, limits do bounds[b] = tonumber(ARGV[4 + b]) end

-- older[b]: members that arrived at the bth limit or before; all of them at 0, none behind the last.
local function count_older(key, older, from, to)
  if to - from < 2 then return end
  local same = older[from] == older[to]
  local middle = math.floor((from + to) / 2)
  older[middle] = same and older[from] or call('ZCOUNT', key, '-inf', ARGV[4 + middle])
  count_older(key, older, from, middle)
  count_older(key, older, middle, to)
end

local function bucket_of(arrival)
  for b = 1, limits do
    if arrival > bounds[b] then return b end
  end
  return limits + 1
end

local function row_of(key)
  local older = { [0] = call('ZCARD', key) }
  if older[0] == 0 then
    for b = 1, limits do older[b] = 0 end
  elseif limits > 0 then
    older[limits] = call('ZCOUNT', key, '-inf', ARGV[4 + limits])
    count_older(key, older, 0, limits)
  end
  local row = {}
  for b = 1, limits do row[b] = older[b - 1] - older[b] end
  row[limits + 1] = older[limits]
  return row
end

local most_extras, extras_read = 2000, 0
local rows = {}
for i = 5 + limits, #ARGV do
  local hash = string.sub(redis.sha1hex(ARGV[i]), 1, 16)
  local row = row_of(fmt('%s:%s:%s:%s', P, kind, queue, hash))
  if kind == 'd' then
    local key = fmt('%s:x:%s:%s', P, queue, hash)
    local size = call('ZCARD', key)
    extras_read = extras_read + size
    if extras_read > most_extras then
      extras_read = extras_read - size
      row[limits + 2] = 1
    elseif size > 0 then
      local extras = call('ZRANGE', key, 0, -1, 'WITHSCORES')
      for at = 1, #extras, 2 do
        local b = bucket_of(tonumber(extras[at + 1]))
        row[b] = row[b] + tonumber(string.match(extras[at], '^(%d+):'))
      end
    end
  end
  rows[#rows + 1] = row
end
return rows
