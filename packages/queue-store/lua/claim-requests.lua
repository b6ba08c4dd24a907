#!lua flags=allow-oom
--[[
  claim-requests: a worker asks leave to serve a job's requests, all in one act.

  KEYS  records   ARGV prefix, claim, heartbeat ms, then per request: id, number, generation
  Returns, per request: {'claimed', transport, nexthop, site or '', arrival, entered active, created, envelope, content, size,
          chunks, {number, value, state …}, content if it fits in one chunk or '', wd} |
          {'stale'} ended or rung afresh | {'busy'} another claim stands, alive or not (only the leader reaps) |
          {'unreadable'} claimed, but the message or its content is not as it should be
  Safe to repeat: a claim already ours is ours. The worker's heartbeat is renewed here, so that no claim is born dead.
  Source: spec Q10; DESIGN §3 "Delivery".
]]
-- @include base
-- @include records
-- @include timeline
local claim = ARGV[2]
call('SET', P .. ':w:' .. claim, '1', 'PX', ARGV[3])

local function todo_recipients(id, text, rr, rg, only, only_state)
  if text == '0' then
    if not only or is_done(only_state, rr) then return {} end
    return { 0, only, only_state or '' }
  end
  local found = {}
  for _, number in ipairs(recipient_numbers(text)) do
    local values = redis.pcall('HMGET', recipient_key(id, number, rg), digits(number), 's' .. digits(number))
    if values.err then return nil end
    if values[1] and not is_done(values[2], rr) then
      found[#found + 1] = number
      found[#found + 1] = values[1]
      found[#found + 1] = values[2] or ''
    end
  end
  return found
end

local function claim_one(id, number, generation)
  local key = record_key(id)
  local v = redis.pcall('HMGET', key, 'R' .. number, 'at', 'qe', 'ct', 'e', 'c', 'sz', 'ch', 'rr', 'rg', 'q', '0', 's0', 'wd')
  if v.err or not v[1] then return { 'stale' } end
  local request = parse_request(v[1])
  if not request or request.generation ~= generation then return { 'stale' } end
  -- Held or put back meanwhile: what nobody claimed before that is not dialled.
  if request.state == 'q' and v[11] ~= 'active' then return { 'stale' } end
  if request.state ~= 'q' and not (request.state == 'c' and request.claim == claim) then return { 'busy' } end
  request.state, request.claim = 'c', claim
  call('HSET', key, 'R' .. number, request_text(request))
  note_together('c\t' .. claim .. '\t' .. request.transport .. ':' .. request.nexthop, id)
  if not (v[2] and v[3] and v[4] and v[5] and v[7] and v[8]) then return { 'unreadable' } end
  local content, inline = v[6] or id, ''
  if v[8] == '1' then
    inline = redis.pcall('HGET', P .. ':c:' .. content, '0')
    if not inline or type(inline) ~= 'string' then return { 'unreadable' } end
  end
  local recipients = todo_recipients(id, request.recipients, v[9], v[10], v[12], v[13])
  if not recipients then return { 'unreadable' } end
  return { 'claimed', request.transport, request.nexthop, request.site, v[2], v[3], v[4], v[5], content, v[7], v[8],
    recipients, inline, v[14] or '' }
end

local answers = {}
for i = 4, #ARGV, 3 do answers[#answers + 1] = claim_one(ARGV[i], ARGV[i + 1], ARGV[i + 2]) end
flush_timeline()
return answers
