#!lua flags=allow-oom
--[[
  reap-requests: take back the claims of workers that are gone. Only the leader does this.

  KEYS  records   ARGV prefix, fence, heartbeat ms, ambiguous ('retry' | 'hold'), state text for ambiguous recipients,
                  then per request: id, number, generation
  Returns, per request: reaped (nothing of it is in doubt: it goes back, or all of it was recorded before its worker
          died; nobody is to blame) | ambiguous (its dot was sent) | alive | gone
  What was recorded while it went on (D6) stays recorded, and is told with its end.
  A worker is gone when its heartbeat is, and the stamp of that and Redis's own uptime are both one heartbeat old: so
  workers that come back after an outage first write the outcomes they hold.
  Source: DESIGN §3 "Only the leader reaps"; spec queues.md §5.
]]
-- @include base
-- @include fence
-- @include indexes
-- @include records
-- @include outcomes
local heartbeat_ms, policy, text = tonumber(ARGV[3]), ARGV[4], ARGV[5]
local uptime_ms = tonumber(string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000

local function is_gone(worker)
  if call('EXISTS', P .. ':w:' .. worker) == 1 then return false end
  call('HSETNX', P .. ':gone', worker, digits(now_ms))
  local since = tonumber(call('HGET', P .. ':gone', worker))
  return now_ms - since >= heartbeat_ms and uptime_ms >= heartbeat_ms
end

-- What was recorded of a request's recipients, as outcomes for those that nothing was.
local function recorded_before(id, request)
  local r = call('HMGET', record_key(id), 'rr', 'sr', 'rg')
  local known = { sent = 0, failed = 0, owed = 0, undone = {} }
  for _, number in ipairs(recipient_numbers(request.recipients)) do
    local state = redis.pcall('HGET', recipient_key(id, number, r[3]), 's' .. digits(number))
    -- A chunk that is no hash tells nothing; the claim of the next attempt finds it.
    if type(state) ~= 'string' then state = nil end
    local done, unreported = is_done(state, r[1])
    if not done then
      known.undone[#known.undone + 1] = { digits(number), 't', text }
    elseif unreported then
      known.failed = known.failed + 1
    else
      known.sent = known.sent + 1
      if owes_success(state, r[2]) then known.owed = known.owed + 1 end
    end
  end
  return known
end

local function defer_ambiguous(id, outcomes)
  local v = read_for_outcomes(id, outcomes)
  if v.err or not (v[1] and v[3] and tonumber(v[4])) then return 0 end
  call_long('HSET', record_key(id), record_outcomes(id, outcomes, v), 6000)
  return #outcomes
end

local function hold(id)
  local key = record_key(id)
  local v = call('HMGET', key, 'q', 'g', 'at', 'sd', 'ds', 'lg')
  if v[1] ~= 'active' then return end
  leave_queue('active', id, v[4], v[5], v[6])
  because('ambiguous delivery')
  enter_queue('hold', id, v[3], v[4], v[5], v[6])
  call('HSET', key, 'q', 'hold', 'g', digits(tonumber(v[2]) + 1), 'qe', digits(now_ms))
  tell_leader('left', id)
end

local function reap(id, number, generation)
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'R' .. number, 'o', 'lc', 'cr')
  if v.err or not v[1] then return 'gone' end
  local request = parse_request(v[1])
  if not request or request.generation ~= generation or request.state == 'q' then return 'gone' end
  if not is_gone(request.claim) then return 'alive' end
  call('HDEL', key, 'R' .. number)
  call('HSET', key, 'o', drop_open(v[2], number))
  -- A worker dies once, however many requests of the message it had.
  local crashes = v[4] or '0'
  if v[3] ~= request.claim then
    crashes = digits(tonumber(crashes) + 1)
    call('HSET', key, 'lc', request.claim, 'cr', crashes)
  end
  local known, deferred = recorded_before(id, request), 0
  local is_all_known = #known.undone == 0
  local is_ambiguous = request.state == 'd' and not is_all_known
  if is_ambiguous then
    note('b\t' .. request.claim .. '\t' .. id)
    deferred = defer_ambiguous(id, known.undone)
  elseif not is_all_known then
    note('p\t' .. request.claim .. '\tworker died\t' .. id)
  end
  tell_leader('ended', id, number, generation, (is_ambiguous or is_all_known) and 'tried' or 'putBack',
    digits(known.sent), digits(deferred), digits(known.failed), 'none', '', '', crashes, digits(known.owed))
  if is_ambiguous and policy == 'hold' then hold(id) end
  return is_ambiguous and 'ambiguous' or 'reaped'
end

local answers = {}
for i = 6, #ARGV, 3 do answers[#answers + 1] = reap(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
flush_indexes()
flush_events()
return answers
