#!lua flags=allow-oom
--[[
  check-parts: holds contents, and what of a message stands beside its record, against the record.

  KEYS  the parts   ARGV prefix, mend ('1' | ''), seconds that nobody may have looked at it, then per part: kind ('c' content,
        'm' recipients, 'md' domains, 'away' record of a message that moves), id of its message, rest of its name
  Returns {{key, kind, text} …}
  What was stored ahead carries an expiry and is left to it. So is what belongs to something that is no record: it may be
  all that is left of a message, until that is deleted from corrupt.
  Source: DESIGN §3; spec faults.md "Invariants to scan at any quiet moment".
]]
-- @include base
-- @include indexes
-- @include findings
local rest_seconds = tonumber(ARGV[3])

local function is_resting(key)
  local idle = redis.pcall('OBJECT', 'IDLETIME', key)
  return type(idle) ~= 'number' or idle >= rest_seconds
end

local function belongs(kind, id, rest)
  local names = { 'q', 'c', 'rg', 'n', 'lg' }
  local v = redis.pcall('HMGET', record_key(id), unpack(names))
  -- On its way out its record stands elsewhere (include/copies).
  if not v.err and not v[1] then v = redis.pcall('HMGET', P .. ':away:' .. id, unpack(names)) end
  if v.err or (not v[1] and call('HEXISTS', P .. ':why', id) == 1) then return true end
  if not v[1] then return false end
  if kind == 'c' then return (v[2] or id) == rest end
  local round, chunk = string.match(rest, '^(%d+):?(%d*)$')
  if round ~= (v[3] or '0') then return false end
  if kind == 'md' then return v[5] end
  return (tonumber(chunk) or 0) * recipients_per_chunk < (tonumber(v[4]) or 0)
end

local function check_away(id, key)
  if call('ZSCORE', P .. ':moving', id) or call('EXISTS', key) == 0 then return end
  find(id, 'move', 'moves to another instance, but is not to be found among those', function()
    call('ZADD', P .. ':moving', now_ms, id)
  end)
end

local function check_part(kind, id, rest, key)
  local is_shared = kind == 'c' and redis.pcall('HEXISTS', key, 'refs') == 1
  if not is_shared and call('EXISTS', key) == 1 and call('TTL', key) < 0 and not belongs(kind, id, rest) and is_resting(key) then
    local text = kind == 'c' and 'is content without a record' or 'belongs to no record'
    find(index_name(key), kind == 'c' and 'content' or 'part', text, function() call('UNLINK', key) end)
  end
end

for i, key in ipairs(KEYS) do
  local kind, id, rest = ARGV[i * 3 + 1], ARGV[i * 3 + 2], ARGV[i * 3 + 3]
  if kind == 'away' then check_away(id, key) else check_part(kind, id, rest, key) end
end
return findings
