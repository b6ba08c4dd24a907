--[[
  indexes: what mailq, qshape, metrics, the importer and the sweeps read; kept by the scripts that move messages.

  Changes are gathered and made at the end by flush_indexes(), one variadic command per key: that is why indexes are
  nearly free in a batch (PROTOTYPE: under 5 %).

    q:<queue>   zset id by arrival ms (listings)       e:<queue>  zset id by ms of entry (import order, sweeps)
    d:<queue>:<hash>  zset id by arrival, per recipient domain with undone recipients
    x:<queue>:<hash>  zset "<n-1>:<id>" by arrival, where one message has n > 1 undone recipients there
    s:<queue>:<hash>  zset id by arrival, per sender domain
    dn:<queue>, sn:<queue>  zset domain by count (of undone recipients; of messages)
    l:<queue>   zset id by arrival: messages of more than 1 000 domains, whose counts stand in md:<id>:<round>

  A record's `ds` is its undone recipients by domain: "domain\ncount\ndomain\ncount".
]]
local members, zincs = {}, {}
local domain_keys = {}

-- d, x or s of a queue and a domain; worked out once per script.
local function domain_key(kind, queue, domain)
  local prefix = kind .. queue
  local keys = domain_keys[prefix]
  if not keys then
    keys = {}
    domain_keys[prefix] = keys
  end
  local key = keys[domain]
  if not key then
    key = P .. ':' .. kind .. ':' .. queue .. ':' .. string.sub(redis.sha1hex(domain), 1, 16)
    keys[domain] = key
  end
  return key
end

-- The last word about a member of a key wins: a message may be touched several times in one script.
local function member_later(key, member, score)
  local scores = members[key]
  if not scores then
    scores = {}
    members[key] = scores
  end
  scores[member] = score
end

local function zadd_later(key, score, member) member_later(key, member, score) end
local function zrem_later(key, member) member_later(key, member, false) end

local function zincr_later(key, member, by)
  local counts = zincs[key]
  if not counts then
    counts = {}
    zincs[key] = counts
  end
  counts[member] = (counts[member] or 0) + by
end

local function enter_domain(queue, id, arrival, domain, count)
  zadd_later(domain_key('d', queue, domain), arrival, id)
  if count > 1 then
    zadd_later(domain_key('x', queue, domain), arrival, digits(count - 1) .. ':' .. id)
  end
  zincr_later(P .. ':dn:' .. queue, domain, count)
end

local function leave_domain(queue, id, domain, count)
  zrem_later(domain_key('d', queue, domain), id)
  if count > 1 then
    zrem_later(domain_key('x', queue, domain), digits(count - 1) .. ':' .. id)
  end
  zincr_later(P .. ':dn:' .. queue, domain, -count)
end

-- large: the message has too many domains for its own record; only the set of large messages names it.
local function enter_queue(queue, id, arrival, sender_domain, summary, large)
  zadd_later(P .. ':q:' .. queue, arrival, id)
  zadd_later(P .. ':e:' .. queue, now_ms, id)
  zadd_later(domain_key('s', queue, sender_domain), arrival, id)
  zincr_later(P .. ':sn:' .. queue, sender_domain, 1)
  if large then
    zadd_later(P .. ':l:' .. queue, arrival, id)
    return
  end
  for domain, count in string.gmatch(summary, '([^\n]+)\n(%d+)') do
    enter_domain(queue, id, arrival, domain, tonumber(count))
  end
end

local function leave_queue(queue, id, sender_domain, summary, large)
  zrem_later(P .. ':q:' .. queue, id)
  zrem_later(P .. ':e:' .. queue, id)
  zrem_later(domain_key('s', queue, sender_domain), id)
  zincr_later(P .. ':sn:' .. queue, sender_domain, -1)
  if large then
    zrem_later(P .. ':l:' .. queue, id)
    return
  end
  for domain, count in string.gmatch(summary, '([^\n]+)\n(%d+)') do
    leave_domain(queue, id, domain, tonumber(count))
  end
end

local function flush_indexes()
  for key, scores in pairs(members) do
    local added, removed = {}, {}
    for member, score in pairs(scores) do
      if score then
        added[#added + 1] = score
        added[#added + 1] = member
      else
        removed[#removed + 1] = member
      end
    end
    call_long('ZREM', key, removed, 4000)
    call_long('ZADD', key, added, 4000)
  end
  for key, counts in pairs(zincs) do
    for member, by in pairs(counts) do
      if by ~= 0 and tonumber(call('ZINCRBY', key, by, member)) <= 0 then
        call('ZREM', key, member)
      end
    end
  end
end
