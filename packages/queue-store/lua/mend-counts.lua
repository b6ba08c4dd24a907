#!lua flags=allow-oom
--[[
  mend-counts: makes a record say of its recipients what was counted.

  KEYS[1] record   ARGV prefix, id, what the record said when they were counted (count-recipients), u, fl, su, then domains and
          their counts: all of them; of a large message those that change, 0 to take one away
  Returns mended | changed (something happened since: count again)
  The entries follow; the counts of domains (dc) are mended by check-names.
  Source: DESIGN §3 "Indexes".
]]
-- @include base
-- @include indexes
-- @include records
local id, key = ARGV[2], KEYS[1]
local v = redis.pcall('HMGET', key, 'n', 'rr', 'sr', 'rg', 'fin', 'lg', 'g', 'u', 'fl', 'su', 'ds')
if v.err then return 'changed' end
local said = {}
for i = 1, 11 do said[i] = v[i] or '' end
if table.concat(said, '\n\n') ~= ARGV[3] then return 'changed' end
local at = call('HMGET', key, 'q', 'at')
local function set_count(name, value)
  if tonumber(value) > 0 then call('HSET', key, name, value) else call('HDEL', key, name) end
end
call('HSET', key, 'u', ARGV[4])
set_count('fl', ARGV[5])
set_count('su', ARGV[6])
if v[6] then
  local domains = domains_key(id, v[4])
  for i = 7, #ARGV, 2 do
    if ARGV[i + 1] == '0' then call('HDEL', domains, ARGV[i]) else call('HSET', domains, ARGV[i], ARGV[i + 1]) end
  end
else
  for domain, count in string.gmatch(v[11] or '', '([^\n]+)\n(%d+)') do
    zrem_later(domain_key('d', at[1], domain), id)
    if tonumber(count) > 1 then zrem_later(domain_key('x', at[1], domain), digits(tonumber(count) - 1) .. ':' .. id) end
  end
  local summary = {}
  for i = 7, #ARGV, 2 do
    local domain, count = ARGV[i], tonumber(ARGV[i + 1])
    summary[#summary + 1] = domain
    summary[#summary + 1] = digits(count)
    zadd_later(domain_key('d', at[1], domain), at[2], id)
    if count > 1 then zadd_later(domain_key('x', at[1], domain), at[2], digits(count - 1) .. ':' .. id) end
  end
  call('HSET', key, 'ds', table.concat(summary, '\n'))
end
flush_indexes()
return 'mended'
