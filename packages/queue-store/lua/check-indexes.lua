#!lua flags=allow-oom
--[[
  check-indexes: holds the members of indexes against their records; takes away those that the records don't tell of.

  KEYS  indexes   ARGV prefix, mend ('1' | ''), most members to look at in all, then per index: kind ('q' 'e' 'l' 's' 'd' 'x' 'f' 'due'
        'owed' 'moving'), queue or '', number of members, these; no members: the index itself is read, if it is small
  Returns {how many of the indexes were looked at, {id or name of the index, kind, text, member} …}; kind `large`: it is to
          be read in pages, and its members to be given
  What no record is behind may stand in corrupt, with a reason: there was something that nobody could read.
  Source: DESIGN §3 "Indexes"; spec P2, Q9.
]]
-- @include base
-- @include indexes
-- @include records
-- @include findings
local small = 200
local queues = { maildrop = 1, incoming = 1, active = 1, deferred = 1, hold = 1, corrupt = 1 }
-- The domain whose hash ends a key: found with the first record, then only compared.
local domain_of_key = {}

local function count_in(summary, domain)
  local _, at = string.find('\n' .. summary .. '\n', '\n' .. domain .. '\n', 1, true)
  return at and string.match(summary, '^%d+', at)
end

local function count_for_key(key, kind, queue, summary)
  local known = domain_of_key[key]
  if known then return count_in(summary, known) end
  for domain, count in string.gmatch(summary, '([^\n]+)\n(%d+)') do
    if domain_key(kind, queue, domain) == key then
      domain_of_key[key] = domain
      return count
    end
  end
end

local function is_known_unreadable(id) return call('HEXISTS', P .. ':why', id) == 1 end

-- What is no readable record: parked with a reason, or about to be by check-records.
local function may_stand_unread(kind, queue, id, v)
  if queue == 'corrupt' then return kind == 'q' and is_known_unreadable(id) end
  local is_there = v.err or call('EXISTS', record_key(id)) == 1
  return is_there and kind ~= 's' and kind ~= 'd' and kind ~= 'x' and kind ~= 'f'
end

local function belongs(key, kind, queue, id, member)
  if kind == 'moving' then return call('EXISTS', P .. ':away:' .. id) == 1 end
  local v = redis.pcall('HMGET', record_key(id), 'q', 'lg', 'sd', 'ds', 'sf', 'bw')
  if v.err or not (v[1] and queues[v[1]] and v[3] and v[4]) then return may_stand_unread(kind, queue, id, v) end
  if kind == 'f' then return v[5] and key == P .. ':f:' .. v[5] end
  if kind == 'due' then return v[1] == 'deferred' end
  if kind == 'owed' then return v[1] == 'active' and v[6] end
  if v[1] ~= queue then return false end
  if kind == 'q' or kind == 'e' then return true end
  if kind == 'l' then return v[2] end
  if kind == 's' then return key == domain_key('s', queue, v[3]) end
  local count = not v[2] and count_for_key(key, kind, queue, v[4])
  if kind == 'd' then return count end
  return count and tonumber(count) > 1 and member == digits(tonumber(count) - 1) .. ':' .. id
end

local function check_member(key, kind, queue, member)
  local id = kind == 'x' and string.match(member, '^%d+:(.*)$') or member
  if belongs(key, kind, queue, id, member) or not call('ZSCORE', key, member) then return end
  find(id, 'stray', fmt('stands in %s, where it does not belong', index_name(key)), function() call('ZREM', key, member) end)
  table.insert(findings[#findings], member)
end

local budget, looked_at, i = tonumber(ARGV[3]), 0, 4
for _, key in ipairs(KEYS) do
  if budget <= 0 then break end
  local kind, queue, given, members = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), {}
  for k = 1, given do members[k] = ARGV[i + 2 + k] end
  i = i + 3 + given
  local size = redis.pcall('ZCARD', key)
  if type(size) == 'table' then
    find(index_name(key), 'rubbish', 'is no index', function() call('UNLINK', key) end)
    members = {}
  elseif given == 0 and size > small then
    findings[#findings + 1] = { index_name(key), 'large', '' }
  elseif given == 0 then
    members = call('ZRANGE', key, 0, -1)
  end
  for _, member in ipairs(members) do check_member(key, kind, queue, member) end
  budget = budget - #members - 1
  looked_at = looked_at + 1
end
table.insert(findings, 1, looked_at)
return findings
