#!lua flags=allow-oom
--[[
  check-records: holds records against the indexes, contents and requests that must agree with them; mends these.

  KEYS  records   ARGV prefix, mend ('1' | ''), most fields to look at in all, then per record: id, envelope as the caller
        read it and hash of its sender (both '' unless it mends a record that lacks the latter)
  Returns {how many of the records were looked at, live claims, dead claims, {id, kind, text} …}
  The record is the truth: index entries are put where it says. One that can't be read, or whose content or recipients
  are missing, goes to corrupt. kind `counts` is only told: count-recipients and mend-counts see to it; kind `many`: so
  many recipients that they are counted in steps.
  Source: DESIGN §3 "Indexes"; spec faults.md "Invariants to scan at any quiet moment".
]]
-- @include base
-- @include indexes
-- @include records
-- @include corrupt
-- @include findings
local most_fields_of_one = 5000
local queues = { maildrop = 1, incoming = 1, active = 1, deferred = 1, hold = 1, corrupt = 1 }
local names_later = {}
local live, dead = 0, 0

local function score_of(key, member)
  local score = redis.pcall('ZSCORE', key, member)
  -- What is no index has no score.
  if type(score) == 'table' then return nil, true end
  return score or nil
end

local function expect(id, key, member, score)
  local actual, is_rubbish = score_of(key, member)
  if actual and tonumber(actual) == tonumber(score) then return end
  local text = actual and fmt('stands in %s at %s, not at %s', index_name(key), actual, score)
    or fmt('is missing in %s', index_name(key))
  find(id, 'index', text, function()
    if is_rubbish then call('UNLINK', key) end
    zadd_later(key, score, member)
  end)
end

local function expect_name(id, kind, queue, domain)
  if redis.pcall('HEXISTS', P .. ':' .. kind .. ':' .. queue, domain) == 1 then return end
  find(id, 'names', fmt('%s:%s lacks %s', kind, queue, domain), function()
    names_later[#names_later + 1] = { kind, queue, domain }
  end)
end

local function as_table(flat)
  local t = {}
  for i = 1, #flat, 2 do t[flat[i]] = flat[i + 1] end
  return t
end

local function is_envelope(text)
  local ok, envelope = pcall(cjson.decode, text)
  return ok and type(envelope) == 'table' and type(envelope.sender) == 'string'
end

local function is_readable(f)
  for _, name in ipairs({ 'g', 'at', 'ct', 'qe', 'sz', 'ch', 'n' }) do
    if not is_number(f[name]) then return false end
  end
  for _, name in ipairs({ 'a', 'la', 'rr', 'sr' }) do
    if f[name] and not is_number(f[name]) then return false end
  end
  return is_total(tonumber(f.n)) and tonumber(f.u) and queues[f.q] and f.sd and f.ds and f.e and is_envelope(f.e)
end

local function check_sender(id, f, envelope, sender)
  if f.sf then return expect(id, P .. ':f:' .. f.sf, id, f.at) end
  find(id, 'sender', 'is not in the index of senders', sender ~= '' and function()
    if f.e ~= envelope then return end
    call('HSET', record_key(id), 'sf', sender)
    zadd_later(P .. ':f:' .. sender, f.at, id)
  end)
end

local function check_indexes(id, f)
  expect(id, P .. ':q:' .. f.q, id, f.at)
  if f.q ~= 'hold' and f.q ~= 'corrupt' then expect(id, P .. ':e:' .. f.q, id, f.qe) end
  expect(id, domain_key('s', f.q, f.sd), id, f.at)
  expect_name(id, 'sc', f.q, f.sd)
  if f.lg then
    expect(id, P .. ':l:' .. f.q, id, f.at)
  else
    for domain, count in string.gmatch(f.ds, '([^\n]+)\n(%d+)') do
      expect(id, domain_key('d', f.q, domain), id, f.at)
      if tonumber(count) > 1 then
        expect(id, domain_key('x', f.q, domain), digits(tonumber(count) - 1) .. ':' .. id, f.at)
      end
      expect_name(id, 'dc', f.q, domain)
    end
  end
end

local function check_due(id, f)
  if f.q ~= 'deferred' then
    if f.due and not is_number(f.due) then
      find(id, 'due', 'its due time is no number', function() call('HDEL', record_key(id), 'due') end)
    end
    return
  end
  if is_number(f.due) then return expect(id, P .. ':due', id, f.due) end
  find(id, 'due', 'has no due time', function()
    call('HSET', record_key(id), 'due', digits(now_ms))
    zadd_later(P .. ':due', digits(now_ms), id)
  end)
end

local function check_owed(id, f)
  if not f.bw then return end
  if f.q ~= 'active' then
    find(id, 'report', 'owes a report outside of active', function() call('HDEL', record_key(id), 'bw') end)
  elseif not score_of(P .. ':owed', id) then
    find(id, 'report', 'is missing in owed', function() zadd_later(P .. ':owed', digits(now_ms), id) end)
  end
end

-- Why its content can't be read, or nil.
local function content_trouble(id, f)
  local key = P .. ':c:' .. (f.c or id)
  for chunk = 0, tonumber(f.ch) - 1 do
    local found = redis.pcall('HEXISTS', key, chunk)
    if found ~= 1 then return fmt('part %d of its content is missing', chunk) end
  end
  if tonumber(f.ch) > 0 and call('TTL', key) >= 0 then
    find(id, 'content', 'its content would expire', function() call('PERSIST', key) end)
  end
end

local function note_claim(claim)
  if call('EXISTS', P .. ':w:' .. claim) == 1 then live = live + 1 else dead = dead + 1 end
end

-- `o` is mended to name what is stored, but for what nobody has begun and nobody would ring for.
local function check_requests(id, f)
  local key, open, kept, is_wrong = record_key(id), {}, {}, false
  for number in string.gmatch(f.o or '', '%d+') do open[number] = true end
  local function wrong(text, mend)
    is_wrong = true
    find(id, 'request', text, mend)
  end
  for name, text in pairs(f) do
    local number = string.match(name, '^R(%d+)$')
    local request = number and parse_request(text)
    if request then
      if request.state ~= 'q' then note_claim(request.claim) end
      if open[number] then
        kept[#kept + 1] = number
      elseif request.state == 'q' then
        wrong(fmt('its request %s is not among the open ones', number), function() call('HDEL', key, name) end)
      else
        wrong(fmt('its request %s is not among the open ones', number), function() kept[#kept + 1] = number end)
      end
      open[number] = nil
    elseif number then
      wrong(fmt('its request %s can not be read', number), function() call('HDEL', key, name) end)
      open[number] = nil
    end
  end
  for number in pairs(open) do wrong(fmt('its open request %s is not stored', number)) end
  if mending and is_wrong then
    table.sort(kept, function(a, b) return tonumber(a) < tonumber(b) end)
    call('HSET', key, 'o', table.concat(kept, ' '))
  end
  if f.cl then note_claim(f.cl) end
end

-- Counts what the record should say; nil and why when recipients can't be read.
local function count_recipients(id, f)
  local total, at = tonumber(f.n), f
  local counted = { undone = 0, failed = 0, sent = 0, missing = 0, domains = {} }
  for number = 0, total - 1 do
    if number > 0 and number % recipients_per_chunk == 0 then
      local chunk = redis.pcall('HGETALL', recipient_key(id, number, f.rg))
      if chunk.err or #chunk == 0 then return nil end
      at = as_table(chunk)
    end
    local text = digits(number)
    local value, state = at[text], at['s' .. text]
    local done, unreported = is_done(state, f.rr)
    if not value then
      counted.missing = counted.missing + 1
    elseif not done and not f.fin then
      counted.undone = counted.undone + 1
      local domain = counted_domain(value)
      counted.domains[domain] = (counted.domains[domain] or 0) + 1
    end
    if value and unreported then counted.failed = counted.failed + 1 end
    if value and owes_success(state, f.sr) then counted.sent = counted.sent + 1 end
  end
  return counted
end

local function check_count(id, name, says, counted)
  if tonumber(says or '0') ~= counted then
    find(id, 'counts', fmt('%s is %s, %d were counted', name, says or '0', counted))
  end
end

local function check_counts(id, f, counted)
  check_count(id, 'u', f.u, counted.undone)
  check_count(id, 'fl', f.fl, counted.failed)
  check_count(id, 'su', f.su, counted.sent)
  local said = {}
  if f.lg then
    if f.fin then return end
    said = as_table(call('HGETALL', domains_key(id, f.rg)))
  else
    for domain, count in string.gmatch(f.ds, '([^\n]+)\n(%d+)') do said[domain] = count end
  end
  for domain, count in pairs(counted.domains) do
    if tonumber(said[domain] or '0') ~= count then
      find(id, 'counts', fmt('%s is counted %s times, not %d', domain, said[domain] or '0', count))
    end
    said[domain] = nil
  end
  for domain, count in pairs(said) do
    find(id, 'counts', fmt('%s is counted %s times, not 0', domain, count))
  end
end

local function park(id, why)
  find(id, 'unreadable', why, function()
    because('check')
    park_corrupt(id, why, '')
  end)
end

local function is_parked(id)
  return score_of(P .. ':q:corrupt', id) and call('HEXISTS', P .. ':why', id) == 1
end

-- Returns how many fields were looked at.
local function check_record(id, envelope, sender)
  local key = record_key(id)
  local size = redis.pcall('HLEN', key)
  if type(size) == 'table' then
    if not is_parked(id) then park(id, 'it is no record') end
    return 1
  end
  if size == 0 then return 1 end
  local is_long = size > most_fields_of_one
  local names = { 'q', 'g', 'at', 'ct', 'qe', 'sz', 'ch', 'c', 'e', 'n', 'u', 'ds', 'sd', 'sf', 'lg', 'rg', 'due', 'bw', 'cl', 'o',
    'a', 'la', 'rr', 'sr' }
  local f
  if is_long then
    local values = call('HMGET', key, unpack(names))
    f = {}
    for i, name in ipairs(names) do f[name] = values[i] or nil end
  else
    f = as_table(call('HGETALL', key))
  end
  if not is_readable(f) then
    if f.q ~= 'corrupt' and not is_parked(id) then park(id, 'unreadable record') end
    return size
  end
  check_indexes(id, f)
  check_sender(id, f, envelope, sender)
  if f.q == 'corrupt' then
    if call('HEXISTS', P .. ':why', id) == 0 then
      find(id, 'reason', 'no reason tells why it is in corrupt', function() call('HSET', P .. ':why', id, 'unknown reason') end)
    end
    return size
  end
  local why = content_trouble(id, f)
  if why then
    park(id, why)
    return size
  end
  check_due(id, f)
  check_owed(id, f)
  if is_long or tonumber(f.n) > 2 * recipients_per_chunk then
    findings[#findings + 1] = { id, 'many', '' }
    return size
  end
  check_requests(id, f)
  local counted = count_recipients(id, f)
  if not counted or (counted.missing > 0 and counted.undone < tonumber(f.u)) then
    park(id, 'recipients are missing')
  else
    check_counts(id, f, counted)
  end
  return size + tonumber(f.n)
end

local budget, looked_at = tonumber(ARGV[3]), 0
for i = 4, #ARGV, 3 do
  if budget <= 0 then break end
  budget = budget - check_record(ARGV[i], ARGV[i + 1], ARGV[i + 2])
  looked_at = looked_at + 1
end
flush_indexes()
for _, name in ipairs(names_later) do mend_name(name[1], name[2], name[3]) end
flush_events()
table.insert(findings, 1, dead)
table.insert(findings, 1, live)
table.insert(findings, 1, looked_at)
return findings
