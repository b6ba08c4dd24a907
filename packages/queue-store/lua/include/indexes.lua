--[[
  indexes: what mailq, qshape, metrics, the importer and the sweeps read; kept by the scripts that move messages.

  Changes are gathered and made at the end by flush_indexes(), one variadic command per key: that is why indexes are
  nearly free in a batch (PROTOTYPE: under 5 %).

    q:<queue>   zset id by arrival ms (listings)       e:<queue>  zset id by ms of entry (import order, sweeps; not of hold and corrupt)
    d:<queue>:<hash>  zset id by arrival, per recipient domain with undone recipients
    x:<queue>:<hash>  zset "<n-1>:<id>" by arrival, where one message has n > 1 undone recipients there
    s:<queue>:<hash>  zset id by arrival, per sender domain
    f:<hash>    zset id by arrival, per sender, of all queues: moves don't touch it
    dc:<queue>, sc:<queue>  hash of counts by domain (of undone recipients; of messages)
    l:<queue>   zset id by arrival: messages of more than 1 000 domains, whose counts stand in md:<id>:<round>

  A record's `ds` is its undone recipients by domain: "domain\ncount\ndomain\ncount".
  Each move is noted in the timeline on its way (include/timeline), which is written with the indexes.
]]
-- @include timeline
-- key -> the one member that changed there (its score, or false, in only_scores), or a map of them. Most keys of a batch
-- are of domains, with one member each: a table for each of them would cost more than all else here.
local members, only_scores = {}, {}
local zincs, domain_hashes = {}, {}

local function domain_hash(domain)
  local hash = domain_hashes[domain]
  if not hash then
    hash = string.sub(redis.sha1hex(domain), 1, 16)
    domain_hashes[domain] = hash
  end
  return hash
end

-- The keys of a queue, and what those of its domains begin with.
local queue_keys = {}
local function keys_of(queue)
  local keys = queue_keys[queue]
  if not keys then
    keys = {}
    for _, kind in ipairs({ 'q', 'l', 'dc', 'sc' }) do keys[kind] = P .. ':' .. kind .. ':' .. queue end
    for _, kind in ipairs({ 'd', 'x', 's' }) do keys[kind] = P .. ':' .. kind .. ':' .. queue .. ':' end
    if queue ~= 'hold' and queue ~= 'corrupt' then keys.e = P .. ':e:' .. queue end
    queue_keys[queue] = keys
  end
  return keys
end

-- d, x or s of a queue and a domain.
local function domain_key(kind, queue, domain) return keys_of(queue)[kind] .. domain_hash(domain) end

-- The last word about a member of a key wins: a message may be touched several times in one script.
local function member_later(key, member, score)
  local known = members[key]
  if not known then
    members[key], only_scores[key] = member, score
  elseif known == member then
    only_scores[key] = score
  elseif type(known) == 'table' then
    known[member] = score
  else
    members[key] = { [known] = only_scores[key], [member] = score }
  end
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
  member_later(domain_key('d', queue, domain), id, arrival)
  if count > 1 then
    member_later(domain_key('x', queue, domain), digits(count - 1) .. ':' .. id, arrival)
  end
  zincr_later(keys_of(queue).dc, domain, count)
end

local function leave_domain(queue, id, domain, count)
  member_later(domain_key('d', queue, domain), id, false)
  if count > 1 then
    member_later(domain_key('x', queue, domain), digits(count - 1) .. ':' .. id, false)
  end
  zincr_later(keys_of(queue).dc, domain, -count)
end

-- What most summaries are: one domain, one recipient. A message that moves is asked for twice in a row.
local last_summary, last_only
local function only_domain(summary)
  if summary ~= last_summary then
    last_summary, last_only = summary, string.match(summary, '^([^\n]+)\n1$')
  end
  return last_only
end

local entered_text = digits(now_ms)

-- large: the message has too many domains for its own record; only the set of large messages names it.
local function enter_queue(queue, id, arrival, sender_domain, summary, large)
  note_entered(queue, id)
  local keys = keys_of(queue)
  member_later(keys.q, id, arrival)
  if keys.e then member_later(keys.e, id, entered_text) end
  member_later(domain_key('s', queue, sender_domain), id, arrival)
  zincr_later(keys.sc, sender_domain, 1)
  local only = only_domain(summary)
  if large then
    member_later(keys.l, id, arrival)
  elseif only then
    enter_domain(queue, id, arrival, only, 1)
  else
    for domain, count in string.gmatch(summary, '([^\n]+)\n(%d+)') do
      enter_domain(queue, id, arrival, domain, tonumber(count))
    end
  end
end

local function leave_queue(queue, id, sender_domain, summary, large)
  note_left(id)
  local keys = keys_of(queue)
  member_later(keys.q, id, false)
  if keys.e then member_later(keys.e, id, false) end
  member_later(domain_key('s', queue, sender_domain), id, false)
  zincr_later(keys.sc, sender_domain, -1)
  local only = only_domain(summary)
  if large then
    member_later(keys.l, id, false)
  elseif only then
    leave_domain(queue, id, only, 1)
  else
    for domain, count in string.gmatch(summary, '([^\n]+)\n(%d+)') do
      leave_domain(queue, id, domain, tonumber(count))
    end
  end
end

-- `sender` is the hash that the record keeps as `sf`.
local function enter_sender(sender, id, arrival) zadd_later(P .. ':f:' .. sender, arrival, id) end
local function leave_sender(sender, id) zrem_later(P .. ':f:' .. sender, id) end

local function flush_members(key, scores)
  local added, removed, adds, removes = {}, {}, 0, 0
  for member, score in pairs(scores) do
    if score then
      added[adds + 1], added[adds + 2] = score, member
      adds = adds + 2
    else
      removes = removes + 1
      removed[removes] = member
    end
  end
  call_long('ZREM', key, removed, 4000)
  call_long('ZADD', key, added, 4000)
end

-- A name whose count falls to nought goes. Many counts are read at once and written at once: a call each costs more.
local names_per_call = 2000
local function flush_counts(key, counts)
  local names = {}
  for name, by in pairs(counts) do
    if by ~= 0 then names[#names + 1] = name end
  end
  if #names <= 2 then
    for _, name in ipairs(names) do
      if call('HINCRBY', key, name, counts[name]) <= 0 then call('HDEL', key, name) end
    end
    return
  end
  for from = 1, #names, names_per_call do
    local to = math.min(#names, from + names_per_call - 1)
    local old, changed, gone = call('HMGET', key, unpack(names, from, to)), {}, {}
    for i = from, to do
      local count = (tonumber(old[i - from + 1]) or 0) + counts[names[i]]
      if count > 0 then
        changed[#changed + 1] = names[i]
        changed[#changed + 1] = digits(count)
      else
        gone[#gone + 1] = names[i]
      end
    end
    call_long('HDEL', key, gone, 4000)
    call_long('HSET', key, changed, 4000)
  end
end

local function flush_indexes()
  for key, known in pairs(members) do
    if type(known) == 'table' then
      flush_members(key, known)
    elseif only_scores[key] then
      call('ZADD', key, only_scores[key], known)
    else
      call('ZREM', key, known)
    end
  end
  for key, counts in pairs(zincs) do flush_counts(key, counts) end
  flush_timeline()
end
