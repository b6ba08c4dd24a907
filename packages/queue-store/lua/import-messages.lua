#!lua flags=allow-oom
--[[
  import-messages: the scheduler opens messages: the oldest of incoming, those of deferred that are due, or, for a
  flush, all that entered deferred before a moment.

  KEYS[1] index read   ARGV prefix, fence, from ('incoming' | 'deferred'), most messages, most recipients of each, crash limit,
          most recipients of all together or '', those read of each even then, entered before ms or '', in-flow tokens in all
  Returns, per message: {id, generation, arrival, created, envelope, size, n, u, fl, attempts, crashes, fin, next,
          {number, value, state …}, {request number, request …}, 1 if more may be there at once, x, wd, ut, as whose surplus
          it waited, su}; or {id, reason} for one moved to corrupt, or {id} for one that is in another queue.
  The ids stand in `opening` until the next import or close-import: a leader that dies over them leaves a count, and
  such a message is then imported alone (DESIGN §3, "opened, not closed").
  Ends or renews `looking`: see include/opening. Each of incoming gives an in-flow token back, the end of the scan all.
  `next` below n: more may be undone from there on, though none was found before it.
  A flush by entry ends by itself: what comes back to deferred has entered later.
  Source: spec queues.md §3.5, S1 to S4, S33; scheduling.md §11; DESIGN §4.
]]
-- @include base
-- @include fence
-- @include indexes
-- @include records
-- @include corrupt
-- @include opening
-- @include flow
-- @include surplus
close_opening()
local from, most, most_recipients, limit = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
-- What was flushed is found by the moment it entered deferred.
if ARGV[9] ~= '' then because('flush') end
local least = math.min(tonumber(ARGV[8]), most_recipients)
local left = tonumber(ARGV[7]) or math.huge
local ids
if from == 'incoming' then
  ids = call('ZRANGE', P .. ':e:incoming', 0, most - 1)
elseif ARGV[9] ~= '' then
  ids = call('ZRANGEBYSCORE', P .. ':e:deferred', '-inf', '(' .. ARGV[9], 'LIMIT', 0, most)
else
  ids = call('ZRANGEBYSCORE', P .. ':due', '-inf', digits(now_ms), 'LIMIT', 0, most)
end

-- Numbers of nobody, or of whom nothing is left to do, that this script still looks at: a message may have a million of
-- them. 200 of each message are looked at even then, so that each read gets on.
local vain_left = 5000

-- The number that was not looked at, and those found before it. Fewer found than asked for is no end: the caller reads on.
local function undone_recipients(id, total, rr, rg, only, only_state, limit_of_it)
  if total == 1 then
    if not only or is_done(only_state, rr) then return 1, {} end
    return 1, { 0, only, only_state or '' }
  end
  local found, number = {}, 0
  while number < total and #found < limit_of_it * 3 and (vain_left > 0 or number == 0) do
    local key = recipient_key(id, number, rg)
    local is_at_chunk = number > 0 and number % recipients_per_chunk == 0
    if is_at_chunk and call('EXISTS', key) == 0 then
      -- A requeue leaves chunks of nobody behind; to ask for one costs about as much as two numbers.
      vain_left = vain_left - 2
      number = math.min(total, number + recipients_per_chunk)
    else
      local fields, to, found_before = {}, math.min(total - 1, number + 199), #found
      for i = number, to do
        fields[#fields + 1] = digits(i)
        fields[#fields + 1] = 's' .. digits(i)
      end
      local values = redis.pcall('HMGET', key, unpack(fields))
      if values.err then return total, found end
      local i = number
      while i <= to and #found < limit_of_it * 3 do
        local value, state = values[(i - number) * 2 + 1], values[(i - number) * 2 + 2]
        if value and not is_done(state, rr) then
          found[#found + 1] = i
          found[#found + 1] = value
          found[#found + 1] = state or ''
        end
        i = i + 1
      end
      vain_left = vain_left - (i - number - (#found - found_before) / 3)
      number = i
    end
  end
  return number, found
end

-- Requests that nobody claimed before the message left active are dropped: their rings must not work any more.
local function open_requests(key, open)
  local found, kept, dropped = {}, {}, false
  for number in string.gmatch(open or '', '%d+') do
    local text = call('HGET', key, 'R' .. number)
    local request = text and parse_request(text)
    if request and request.state ~= 'q' then
      found[#found + 1] = number
      found[#found + 1] = text
      kept[#kept + 1] = number
    else
      call('HDEL', key, 'R' .. number)
      dropped = true
    end
  end
  if dropped then call('HSET', key, 'o', table.concat(kept, ' ')) end
  return found
end

local function forget_in_index(id)
  call('ZREM', P .. ':e:' .. from, id)
  if from == 'deferred' then call('ZREM', P .. ':due', id) end
end

-- The leader makes numbers of all that are listed here; of the second list any may be absent. Counts of recipients may have
-- become wrong, and are mended later.
local must_be_numbers, may_be_numbers, may_be_counts = { 2, 3, 4, 6, 7 }, { 10, 11, 12 }, { 8, 9, 26 }
local function is_readable(v)
  if v.err or not (v[1] and v[5] and v[8] and v[14] and v[15]) then return false end
  for _, i in ipairs(must_be_numbers) do
    if not is_number(v[i]) then return false end
  end
  for _, i in ipairs(may_be_numbers) do
    if v[i] and not is_number(v[i]) then return false end
  end
  for _, i in ipairs(may_be_counts) do
    if v[i] and not string.match(v[i], '^%-?%d+$') then return false end
  end
  return is_total(tonumber(v[7]))
end

local imported, opening, last = {}, {}, nil
-- A suspect is imported alone: what is behind it was not looked at.
local is_cut = false
for _, id in ipairs(ids) do
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'q', 'g', 'at', 'ct', 'e', 'sz', 'n', 'u', 'fl', 'a', 'cr', 'oc', 'fin', 'sd',
    'ds', 'lg', 'rr', 'rg', 'o', '0', 's0', 'x', 'wd', 'ut', 'sp', 'su')
  -- The record is the truth: an index that says otherwise is mended.
  local is_elsewhere = not v.err and v[1] and v[1] ~= from
  local why
  if is_elsewhere then
    forget_in_index(id)
    imported[#imported + 1] = { id }
  elseif not is_readable(v) then
    why = 'unreadable record'
  elseif tonumber(v[12] or '0') >= limit then
    why = 'the scheduler crashed over it'
  end
  local next_number, recipients
  if not why and not is_elsewhere then
    next_number, recipients = undone_recipients(id, tonumber(v[7]), v[17], v[18], v[20], v[21],
      math.max(least, math.min(left, most_recipients)))
    if next_number >= tonumber(v[7]) and #recipients / 3 < tonumber(v[8]) and not v[13] then
      why = 'recipients are missing'
    end
  end
  if why then
    park_corrupt(id, why, '')
    forget_in_index(id)
    imported[#imported + 1] = { id, why }
  elseif not is_elsewhere then
    local suspect = tonumber(v[12] or '0') > 0
    if suspect and last then
      last[16] = 1
      is_cut = true
      break
    end
    local generation = digits(tonumber(v[2]) + 1)
    leave_queue(from, id, v[14], v[15], v[16])
    enter_queue('active', id, v[3], v[14], v[15], v[16])
    call('HSET', key, 'q', 'active', 'g', generation, 'qe', digits(now_ms))
    if from == 'deferred' then
      zrem_later(P .. ':due', id)
      call('HDEL', key, 'due')
    end
    if v[25] then
      zrem_later(surplus_key(v[25]), id)
      call('HDEL', key, 'sp')
    end
    -- Told once.
    if v[24] then call('HDEL', key, 'ut') end
    left = left - #recipients / 3
    opening[#opening + 1] = id
    last = { id, generation, v[3], v[4], v[5], v[6], v[7], v[8], v[9] or '0', v[10] or '0',
      v[11] or '0', v[13] or '', digits(next_number), recipients, open_requests(key, v[19]), suspect and 1 or 0,
      v[22] or '', v[23] or '', v[24] or '', v[25] or '', v[26] or '0' }
    imported[#imported + 1] = last
    if suspect then
      is_cut = true
      break
    end
  end
end
if #opening > 0 then begin_opening(ARGV[2], opening) end
note_look(from, #opening > 0)
if from == 'incoming' then
  if #ids < most and not is_cut then
    give_all_tokens()
  else
    give_tokens(#opening)
  end
end
flush_indexes()
flush_events()
return imported
