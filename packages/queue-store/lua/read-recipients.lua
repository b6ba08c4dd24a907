#!lua flags=no-writes
--[[
  read-recipients: recipients of a message with their states, from a number on.

  KEYS[1] record   ARGV prefix, id, from, limit, which ('undone' | 'open': undone, or a report of
  them is owed | 'unreported' | 'owed': undone or unreported |
  'deferred': those that an attempt left undone | 'succeeded': those whose success report is owed | 'all')
  Returns {next number, {number, value, state or '', number, value, state …}, fl, su}, next -1 when there is no record,
  or none whose recipients could be looked through.
  Of a message that is finished nobody is undone.
  Source: DESIGN §3.
]]
-- @include base
-- @include records
local id, from, limit, which = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local v = call('HMGET', record_key(id), 'n', 'rr', 'rg', 'sr', 'fl', 'su', 'fin')
if not is_total(tonumber(v[1])) then return { -1, {}, 0, 0 } end
local total, found, number = tonumber(v[1]), {}, from
if which == 'undone' and v[7] then number = total end
local looked = 0
while number < total and #found < limit * 3 and looked < 5000 do
  local key, fields = recipient_key(id, number, v[3]), {}
  local to = math.min(total - 1, number + 199, number - number % recipients_per_chunk + recipients_per_chunk - 1)
  for i = number, to do
    fields[#fields + 1] = digits(i)
    fields[#fields + 1] = 's' .. digits(i)
  end
  local values = call('HMGET', key, unpack(fields))
  local i = number
  while i <= to and #found < limit * 3 do
    local value, state = values[(i - number) * 2 + 1], values[(i - number) * 2 + 2]
    if value then
      local done, unreported = is_done(state, v[2])
      if which == 'all' or (which == 'undone' and not done) or (which == 'unreported' and unreported)
        or (which == 'open' and ((not done and not v[7]) or unreported or owes_success(state, v[4])))
        or (which == 'owed' and (not done or unreported))
        or (which == 'deferred' and state and string.sub(state, 1, 1) == 't')
        or (which == 'succeeded' and owes_success(state, v[4])) then
        found[#found + 1] = i
        found[#found + 1] = value
        found[#found + 1] = state or ''
      end
    end
    i = i + 1
  end
  looked = looked + i - number
  number = i
end
return { number, found, v[5] or 0, v[6] or 0 }
