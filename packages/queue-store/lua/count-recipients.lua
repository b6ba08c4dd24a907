#!lua flags=no-writes
--[[
  count-recipients: a step in counting what a record should say of its recipients.

  KEYS[1] record   ARGV prefix, id, from, most recipients
  Returns {next number or -1 when there is no such record, or none that can be counted, what the record says now
           (opaque), undone, failed and unreported, sent with a report owed, missing, 1 for a large message, 1 when a chunk can't be read,
           {domain, undone …}}
  Counts of steps between which what the record says changed are not of one moment, and worth nothing.
  Source: DESIGN §3.
]]
-- @include base
-- @include records
local id, from, most = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local v = redis.pcall('HMGET', record_key(id), 'n', 'rr', 'sr', 'rg', 'fin', 'lg', 'g', 'u', 'fl', 'su', 'ds')
if v.err or not is_total(tonumber(v[1])) then return { -1 } end
local said = {}
for i = 1, 11 do said[i] = v[i] or '' end
local undone, failed, sent, missing, domains, is_bad = 0, 0, 0, 0, {}, 0
local to = math.min(tonumber(v[1]), from + most) - 1
for at = from, to, 200 do
  local last = math.min(to, at + 199, at - at % recipients_per_chunk + recipients_per_chunk - 1)
  local fields = {}
  for number = at, last do
    fields[#fields + 1] = digits(number)
    fields[#fields + 1] = 's' .. digits(number)
  end
  local values = redis.pcall('HMGET', recipient_key(id, at, v[4]), unpack(fields))
  if values.err then
    is_bad, values = 1, {}
  end
  for k = 0, last - at do
    local value, state = values[k * 2 + 1], values[k * 2 + 2]
    local done, unreported = is_done(state, v[2])
    if not value then
      missing = missing + 1
    else
      if not done and not v[5] then
        undone = undone + 1
        local domain = counted_domain(value)
        domains[domain] = (domains[domain] or 0) + 1
      end
      if unreported then failed = failed + 1 end
      if owes_success(state, v[3]) then sent = sent + 1 end
    end
  end
end
local flat = {}
for domain, count in pairs(domains) do
  flat[#flat + 1] = domain
  flat[#flat + 1] = count
end
return { to + 1, table.concat(said, '\n\n'), undone, failed, sent, missing, v[6] and 1 or 0, is_bad, flat }
