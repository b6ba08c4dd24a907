#!lua flags=no-writes
--[[
  read-copies: records as copies want them, those of many recipients without these.

  KEYS  records   ARGV prefix, where ('m' | 'away'), most recipients in all, most bytes of content in all, then ids
  Returns, per id: {} gone | {'unreadable'} | {'later'} not looked at, since the answer is large enough | {version, 1 if
          somebody is at work on it, queue, generation, arrival, created, size, content chunks, content id, envelope, n, rr, sr, attempts,
          last attempt, due, x, wd, fin, why, where to, name of the move, {number, value, state …}, content of one chunk}
          Recipients only of messages of at most 1 000, all of them, done ones too.
  Content or a chunk of it that is missing makes a message unreadable; numbers are the caller's to read with care.
  Source: DESIGN §5.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
local key_of = ARGV[2] == 'm' and record_key or away_key
local recipients_left, bytes_left = tonumber(ARGV[3]), tonumber(ARGV[4])

local function read_recipients(key, total)
  local found = {}
  for from = 0, total - 1, 200 do
    local fields, to = {}, math.min(total - 1, from + 199)
    for i = from, to do
      fields[#fields + 1] = digits(i)
      fields[#fields + 1] = 's' .. digits(i)
    end
    local values = call('HMGET', key, unpack(fields))
    for i = from, to do
      local value = values[(i - from) * 2 + 1]
      if value then
        found[#found + 1] = i
        found[#found + 1] = value
        found[#found + 1] = values[(i - from) * 2 + 2] or ''
      end
    end
  end
  return found
end

local function read(id)
  local key = key_of(id)
  local v = redis.pcall('HMGET', key, 'q', 'at', 'ct', 'sz', 'ch', 'c', 'e', 'n', 'rr', 'sr', 'a', 'la', 'due', 'x',
    'wd', 'fin', 'o', 'cl', 'mto', 'mt', 'sd', 'ds', unpack(version_fields))
  if v.err then return { 'unreadable' } end
  local why = call('HGET', P .. ':why', id)
  if not v[1] then return why and { 'unreadable' } or {} end
  local total, chunks, content = tonumber(v[8]), tonumber(v[5]), v[6] or id
  if not (tonumber(v[2]) and tonumber(v[3]) and tonumber(v[4]) and chunks and v[7] and is_total(total) and v[21] and v[22]
    and tonumber(v[23])) then
    return { 'unreadable' }
  end
  local inline = ''
  local content_key = P .. ':c:' .. content
  if chunks == 1 then
    inline = redis.pcall('HGET', content_key, '0')
    if type(inline) ~= 'string' then return { 'unreadable' } end
  elseif chunks > 1 then
    local there = redis.pcall('HLEN', content_key)
    if type(there) ~= 'number' or there < chunks then return { 'unreadable' } end
  end
  local recipients = {}
  if total <= recipients_per_chunk then
    recipients = read_recipients(key, total)
    recipients_left = recipients_left - total
  end
  bytes_left = bytes_left - #inline
  return { version_of(v, 23), is_claimed(key, v[17], v[18]) and 1 or 0, v[1], v[23], v[2], v[3], v[4], v[5], content,
    v[7], v[8], v[9] or '0', v[10] or '0', v[11] or '0', v[12] or '', v[13] or '', v[14] or '', v[15] or '', v[16] or '',
    why or '', v[19] or '', v[20] or '', recipients, inline }
end

local answers = {}
for i = 5, #ARGV do
  local is_full = i > 5 and (recipients_left <= 0 or bytes_left <= 0)
  answers[#answers + 1] = is_full and { 'later' } or read(ARGV[i])
end
return answers
