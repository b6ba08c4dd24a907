#!lua flags=no-writes
--[[
  read-copied-recipients: some recipients of a message of many, done ones too, and what tells whether it changed since.

  KEYS[1] record   ARGV prefix, where ('m' | 'away'), id, from, most
  Returns {version, next number, {number, value, state …}} | {} it is gone. It is over when the next number is n.
  Source: DESIGN §5.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
local id = ARGV[3]
local key = ARGV[2] == 'm' and record_key(id) or away_key(id)
local v = redis.pcall('HMGET', key, 'n', 'rg', unpack(version_fields))
if v.err or not v[1] then return {} end
local total, number, found = tonumber(v[1]), tonumber(ARGV[4]), {}
local last = math.min(total, number + tonumber(ARGV[5]))
while number < last do
  local fields = {}
  local to = math.min(last - 1, number + 199, number - number % recipients_per_chunk + recipients_per_chunk - 1)
  for i = number, to do
    fields[#fields + 1] = digits(i)
    fields[#fields + 1] = 's' .. digits(i)
  end
  local chunk = number < recipients_per_chunk and key or recipient_key(id, number, v[2])
  local values = redis.pcall('HMGET', chunk, unpack(fields))
  if values.err then return {} end
  for i = number, to do
    local value = values[(i - number) * 2 + 1]
    if value then
      found[#found + 1] = i
      found[#found + 1] = value
      found[#found + 1] = values[(i - number) * 2 + 2] or ''
    end
  end
  number = to + 1
end
return { version_of(v, 3), number, found }
