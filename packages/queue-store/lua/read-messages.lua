#!lua flags=no-writes
--[[
  read-messages: what a listing shows of messages.

  KEYS  records   ARGV prefix, most to look at in all (messages and recipients), then ids
  Returns, per id, a text, or fewer of them when it has looked at enough: '' when it is gone, "id, 'unreadable', why" when
          its key is no record, else "id, queue, arrival, created, size, envelope, x, attempts, last attempt, due, u, n,
          why, kind of the report that is owed, '1' for a surplus, generation, content id, chunks", then number, value and
          state of those not done among the recipients in the record itself; all apart by \1, which no stored text contains.
]]
-- @include base
-- @include records
local budget, answers = tonumber(ARGV[2]), {}
local names = { 'q', 'at', 'ct', 'sz', 'e', 'x', 'a', 'la', 'due', 'u', 'n', 'rr', 'rg', 'bw', 'sp', 'g', 'c', 'ch', '0', 's0' }

local function add_recipient(parts, number, value, state, rr)
  if not value or is_done(state, rr) then return end
  local n = #parts
  parts[n + 1], parts[n + 2], parts[n + 3] = number, value, state or ''
end

local function add_recipients(parts, key, v)
  local total = math.min(tonumber(v[11]) or 0, recipients_per_chunk)
  if total > 0 then add_recipient(parts, '0', v[19], v[20], v[12]) end
  for number = 1, total - 1, 200 do
    local fields, last = {}, math.min(total - 1, number + 199)
    for i = number, last do
      fields[#fields + 1] = digits(i)
      fields[#fields + 1] = 's' .. digits(i)
    end
    local values = call('HMGET', key, unpack(fields))
    for i = number, last do
      add_recipient(parts, digits(i), values[(i - number) * 2 + 1], values[(i - number) * 2 + 2], v[12])
    end
  end
  budget = budget - total
end

local function why(id) return call('HGET', P .. ':why', id) or '' end

for i = 3, #ARGV do
  if budget <= 0 then break end
  budget = budget - 1
  local id, key = ARGV[i], record_key(ARGV[i])
  local v = redis.pcall('HMGET', key, unpack(names))
  local parts
  if v.err or not v[1] then
    local reason = why(id)
    parts = (v.err or reason ~= '') and { id, 'unreadable', reason } or {}
  else
    parts = { id, v[1], v[2] or '', v[3] or '', v[4] or '', v[5] or '', v[6] or '', v[7] or '0', v[8] or '', v[9] or '',
      v[10] or '', v[11] or '', v[1] == 'corrupt' and why(id) or '', v[14] or '',
      v[15] and v[1] == 'deferred' and '1' or '', v[16] or '', v[17] or id, v[18] or '0' }
    add_recipients(parts, key, v)
  end
  answers[#answers + 1] = table.concat(parts, '\1')
end
return answers
