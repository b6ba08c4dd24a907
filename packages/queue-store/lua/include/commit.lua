--[[
  commit: writes one new message whole. Used by commit-messages and queue-report.

  reads from ARGV through `arg`, a cursor: id, queue, arrival ms or '', content id, size, chunks, taken ('1' or ''),
  envelope JSON, sender domain, hash of the sender, recipients in all, undone recipients, those sent whose success report is owed, domain summary ('*': staged in md:<id>),
  inline content ('' when staged or empty), inline? ('1' or ''), recipients in this call, that many values, states of
  failed and sent ones in this call, that many pairs (number, state).
  Its recipients' numbers begin with `base`, 0 unless the caller sets it: numbers in this call count from there.
  Answers 'stored', 'already' (nothing is changed), or 'expired' (content or recipients stored ahead are gone). Whoever
  commits several, all or none, asks why_not_commit of each before.
]]
-- A mark whose file's owner died before forgetting it goes one day, long after any file would have been seen.
local taken_life_seconds = 90 * 86400
local cursor = 0
local function arg()
  cursor = cursor + 1
  return ARGV[cursor]
end

local function read_commit()
  local m = {
    id = arg(), queue = arg(), arrival = arg(), content = arg(), size = arg(), chunks = tonumber(arg()),
    taken = arg() == '1', envelope = arg(), sender_domain = arg(), sender = arg(), total = tonumber(arg()), undone = tonumber(arg()), sent = tonumber(arg()),
    summary = arg(), inline = arg(), is_inline = arg() == '1', recipients = {}, states = {}, base = 0,
  }
  for i = 1, tonumber(arg()) do m.recipients[i] = arg() end
  for i = 1, tonumber(arg()) do
    local number = arg()
    m.states[i] = { number, arg() }
  end
  return m
end

-- Keys of content and recipients stored ahead; nil when one is gone.
local function staged_keys(m, round)
  local keys = {}
  if not m.is_inline and m.chunks > 0 then
    local key = P .. ':c:' .. m.content
    for i = 0, m.chunks - 1 do
      if call('HEXISTS', key, i) == 0 then return nil end
    end
    keys[#keys + 1] = key
  end
  local behind = m.base + m.total
  local first = math.max(recipients_per_chunk, m.base - m.base % recipients_per_chunk)
  for number = first, behind - 1, recipients_per_chunk do
    local key = recipient_key(m.id, number, round)
    local due = math.min(number + recipients_per_chunk, behind) - math.max(number, m.base)
    if call('HLEN', key) < due then return nil end
    keys[#keys + 1] = key
  end
  if m.summary == '*' then
    keys[#keys + 1] = domains_key(m.id, round)
    if call('EXISTS', keys[#keys]) == 0 then return nil end
  end
  return keys
end

-- What was stored ahead carries an expiry; all of it must be there, and then stays.
local function keep_staged(m, round)
  local keys = staged_keys(m, round)
  if not keys then return false end
  for _, key in ipairs(keys) do call('PERSIST', key) end
  return true
end

local function is_committed(m) return call('EXISTS', record_key(m.id), P .. ':k:' .. m.id) > 0 end

-- 'already', 'expired', or nil when it can be committed.
local function why_not_commit(m)
  if is_committed(m) then return 'already' end
  if not staged_keys(m, '0') then return 'expired' end
end

local function recipient_fields(fields, m)
  for i, value in ipairs(m.recipients) do
    fields[#fields + 1] = digits(m.base + i - 1)
    fields[#fields + 1] = value
  end
  for _, pair in ipairs(m.states) do
    fields[#fields + 1] = 's' .. digits(m.base + tonumber(pair[1]))
    fields[#fields + 1] = pair[2]
  end
  local failed = m.total - m.undone - m.sent
  if failed > 0 then
    fields[#fields + 1] = 'fl'
    fields[#fields + 1] = failed
  end
  if m.sent > 0 then
    fields[#fields + 1] = 'su'
    fields[#fields + 1] = m.sent
  end
end

-- A quotation mark within a value carries a backslash, so the name can't be forged.
local function origin(m)
  if string.find(m.envelope, '"origin":"smtp"', 1, true) then return 'smtp' end
  return string.match(m.envelope, '"origin":"(%w+)"') or ''
end

local function commit_one(m)
  local key = record_key(m.id)
  local taken_key = P .. ':k:' .. m.id
  if is_committed(m) then return 'already' end
  if not keep_staged(m, '0') then return 'expired' end
  local arrival = m.arrival ~= '' and m.arrival or digits(now_ms)
  local large = m.summary == '*'
  local fields = {
    'q', m.queue, 'g', '1', 'at', arrival, 'ct', digits(now_ms), 'qe', digits(now_ms), 'sz', m.size, 'ch', m.chunks,
    'e', m.envelope, 'sd', m.sender_domain, 'sf', m.sender, 'n', m.total, 'u', m.undone, 'ds', large and '' or m.summary,
  }
  local function set(name, value)
    fields[#fields + 1] = name
    fields[#fields + 1] = value
  end
  if m.content ~= m.id then set('c', m.content) end
  if large then set('lg', '1') end
  recipient_fields(fields, m)
  call_long('HSET', key, fields, 6000)
  if m.is_inline then call('HSET', P .. ':c:' .. m.content, '0', m.inline) end
  if m.taken then call('SET', taken_key, '1', 'EX', taken_life_seconds) end
  note_move('a\t' .. m.queue .. '\t' .. origin(m) .. '\t' .. m.size .. '\t' .. (m.total == 1 and '1' or m.total), m.id)
  enter_queue(m.queue, m.id, arrival, m.sender_domain, m.summary, large)
  enter_sender(m.sender, m.id, arrival)
  return 'stored'
end
