--[[
  findings: what the check's scripts tell, and whether they may mend it. ARGV[2] is '1' to mend.

  A script that only looks is loaded with flags=no-writes. What is found is what stands in one moment, since a script is
  one moment; the caller asks twice before it tells anybody, and only then asks for mending.
]]
local mending, findings = ARGV[2] == '1', {}

-- `mend` is called only when mending; nil: it can't be mended here.
local function find(what, kind, text, mend)
  findings[#findings + 1] = { what, kind, text }
  if mending and mend then mend() end
end

local function index_name(key) return string.sub(key, #P + 2) end

-- Members of an index; what is no index has none.
local function members_of(key)
  local size = redis.pcall('ZCARD', key)
  return type(size) == 'number' and size or 0
end

-- How many a name stands for by its entries; nil when that is too much to add up in one script.
local function name_count(kind, queue, domain)
  if kind == 'sc' then return members_of(domain_key('s', queue, domain)) end
  local count, extras = members_of(domain_key('d', queue, domain)), domain_key('x', queue, domain)
  local size = members_of(extras)
  if size > 2000 then return nil end
  for _, member in ipairs(size > 0 and call('ZRANGE', extras, 0, -1) or {}) do
    count = count + (tonumber(string.match(member, '^%d+')) or 0)
  end
  return count
end

-- A name whose entries can't be added up here keeps what it says; it is put there if it is missing.
local function mend_name(kind, queue, domain)
  local names, count = P .. ':' .. kind .. ':' .. queue, name_count(kind, queue, domain)
  if not count then
    call('HSETNX', names, domain, members_of(domain_key('d', queue, domain)))
  elseif count == 0 then
    call('HDEL', names, domain)
  else
    call('HSET', names, domain, count)
  end
end
