#!lua flags=allow-oom
--[[
  exchange-connections: give tokens of connections back, take others, see whether somebody waits for one.

  KEYS[1] workers (for the slot)   ARGV prefix, heartbeat ms, then per token five values: destination,
                  token `<worker>/<number>`, limit ('' gives it back, 'look' is for who waits), ms for which the asker would wait, tries before
  Returns, per token: 1 it is held (or given back, or somebody waits) | 0 the destination has as many as it may, nobody waits
  Safe to repeat: a token that is held is held, one that is given back stays so. When a place is missing, the asker is
  noted among those who wait, and some other holders are asked to close an idle connection, with each try twice as
  many; the next token that is given back wakes the longest waiting. Tokens fall with the claims of their worker: when
  its heartbeat is gone, and the stamp of that and Redis's own uptime are both one heartbeat old.
  Messages to <prefix>:ask:<worker>: 'ask <destination>', 'free <token>'.
  Source: DESIGN §4 "a connection is opened under a token"; P7.
]]
-- @include base
local heartbeat_ms, longest_ms = tonumber(ARGV[2]), 86400000
local uptime_ms

local function keys_of(name)
  local hash = string.sub(redis.sha1hex(name), 1, 16)
  return P .. ':ct:' .. hash, P .. ':cw:' .. hash
end

local function owner_of(token) return string.match(token, '^(.*)/%d+$') end

local function tell(worker, text) call('PUBLISH', P .. ':ask:' .. worker, text) end

-- When the worker was first seen without a heartbeat. One that is no longer listed has ended (its sockets are closing)
-- or was forgotten by the leader: nobody would remove its stamp from `gone`, so it stands in place of its token.
local function gone_since(worker, tokens, token)
  if call('HEXISTS', P .. ':workers', worker) == 1 then
    call('HSETNX', P .. ':gone', worker, digits(now_ms))
    return tonumber(call('HGET', P .. ':gone', worker))
  end
  local stamp = string.match(call('HGET', tokens, token), '^gone (%d+)$')
  if not stamp then call('HSET', tokens, token, 'gone ' .. digits(now_ms)) end
  return tonumber(stamp or now_ms)
end

local function is_gone(worker, tokens, token)
  if call('EXISTS', P .. ':w:' .. worker) == 1 then return false end
  if now_ms - gone_since(worker, tokens, token) < heartbeat_ms then return false end
  uptime_ms = uptime_ms or tonumber(string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')) * 1000
  return uptime_ms >= heartbeat_ms
end

local function give(name, token)
  local tokens, waiters = keys_of(name)
  if call('HDEL', tokens, token) == 0 then
    call('ZREM', waiters, token)
    return
  end
  local first = call('ZPOPMIN', waiters)
  while first[1] and tonumber(first[2]) < now_ms do first = call('ZPOPMIN', waiters) end
  if first[1] then tell(owner_of(first[1]), 'free ' .. first[1]) end
end

-- Other workers that hold tokens, those of gone ones dropped.
local function other_owners(tokens, me)
  local by_owner, owners = {}, {}
  for _, token in ipairs(call('HKEYS', tokens)) do
    local owner = owner_of(token)
    if owner ~= me then
      if not by_owner[owner] then
        by_owner[owner] = {}
        owners[#owners + 1] = owner
      end
      table.insert(by_owner[owner], token)
    end
  end
  local live = {}
  for _, owner in ipairs(owners) do
    if is_gone(owner, tokens, by_owner[owner][1]) then
      call_long('HDEL', tokens, by_owner[owner], 5000)
    else
      live[#live + 1] = owner
    end
  end
  return live
end

local function take(name, token, limit, wait_ms, tries)
  local tokens, waiters = keys_of(name)
  local function hold()
    call('HSET', tokens, token, digits(now_ms))
    call('PEXPIRE', tokens, longest_ms)
    if tries > 0 then call('ZREM', waiters, token) end
    return 1
  end
  if call('HLEN', tokens) < limit then return hold() end
  if call('HEXISTS', tokens, token) == 1 then return 1 end
  local owners = other_owners(tokens, owner_of(token))
  if call('HLEN', tokens) < limit then return hold() end
  if wait_ms <= 0 then return 0 end
  call('ZADD', waiters, digits(now_ms + wait_ms), token)
  call('PEXPIRE', waiters, digits(wait_ms + 1000))
  local many = 2 ^ tries
  local from = tonumber(string.match(token, '(%d+)$')) + many
  for i = 0, math.min(many, #owners) - 1 do tell(owners[(from + i) % #owners + 1], 'ask ' .. name) end
  return 0
end

local function is_waited_for(name)
  local _, waiters = keys_of(name)
  return call('ZCOUNT', waiters, digits(now_ms), '+inf') > 0 and 1 or 0
end

local answers = {}
for i = 3, #ARGV, 5 do
  local name, token, limit = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if limit then
    answers[#answers + 1] = take(name, token, limit, tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4]))
  elseif ARGV[i + 2] == 'look' then
    answers[#answers + 1] = is_waited_for(name)
  else
    give(name, token)
    answers[#answers + 1] = 1
  end
end
return answers
