#!lua flags=no-writes
--[[
  read-messages: what a listing shows of messages.

  KEYS  records   ARGV prefix, most recipients of each, then ids
  Returns, per id: {} when it is gone, {id, 'unreadable', why} when its key is no record, else
          {id, queue, arrival, created, size, envelope, x, attempts, last attempt, due, u, n, why,
           {number, value, state …} of those not done, kind of the report that is owed, '1' for a surplus}
]]
-- @include base
-- @include records
local most, answers = tonumber(ARGV[2]), {}
local function undone(id, total, rr, rg)
  local found, number = {}, 0
  while number < total and #found < most * 3 do
    local fields, to = {}, math.min(total - 1, number + 199)
    for i = number, to do
      fields[#fields + 1] = digits(i)
      fields[#fields + 1] = 's' .. digits(i)
    end
    local values = call('HMGET', recipient_key(id, number, rg), unpack(fields))
    for i = number, to do
      local value, state = values[(i - number) * 2 + 1], values[(i - number) * 2 + 2]
      if value and not is_done(state, rr) and #found < most * 3 then
        found[#found + 1] = i
        found[#found + 1] = value
        found[#found + 1] = state or ''
      end
    end
    number = to + 1
  end
  return found
end
for i = 3, #ARGV do
  local id = ARGV[i]
  local v = redis.pcall('HMGET', record_key(id), 'q', 'at', 'ct', 'sz', 'e', 'x', 'a', 'la', 'due', 'u', 'n', 'rr', 'rg', 'bw', 'sp')
  local why = call('HGET', P .. ':why', id) or ''
  if v.err or (not v[1] and why ~= '') then
    answers[#answers + 1] = { id, 'unreadable', why }
  elseif not v[1] then
    answers[#answers + 1] = {}
  else
    answers[#answers + 1] = { id, v[1], v[2], v[3], v[4], v[5], v[6] or '', v[7] or '0', v[8] or '', v[9] or '',
      v[10], v[11], why, undone(id, tonumber(v[11]) or 0, v[12], v[13]),
      v[14] or '', v[15] and v[1] == 'deferred' and '1' or '' }
  end
end
return answers
