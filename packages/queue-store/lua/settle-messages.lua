#!lua flags=allow-oom
--[[
  settle-messages: what the leader decides about messages of which no request is out.

  KEYS  records   ARGV prefix, fence, then per message: id, generation, action, detail, count attempt ('1' | ''),
        name of the destination for whose room it waits or ''
        action: remove | defer (detail: due ms) | report (detail: kind) | corrupt (detail: reason)
  Returns, per message: done | stale (moved by somebody else) | unfinished (work is left, or was recorded meanwhile)
  A message of which a success report is owed is not removed, though it is finished (D31).
  Source: spec queues.md §3.7; Q6, Q7, S13, S31, D31.
]]
-- @include base
-- @include fence
-- @include indexes
-- @include records
-- @include corrupt
-- @include surplus
local surplus_keys = {}

-- A number of recipients that a report is still to tell of.
local function is_owed(count) return count and count ~= '0' end

local function remove(id, v)
  if not v[12] and (v[3] ~= '0' or is_owed(v[4])) or is_owed(v[15]) then return 'unfinished' end
  leave_queue('active', id, v[6], v[7], v[8])
  if v[14] then call('ZREM', P .. ':owed', id) end
  delete_record(id, v[9], v[10], v[11] or id, v[8], v[16])
  return 'done'
end

local function defer(id, v, due, count_attempt, surplus_of)
  if v[3] == '0' and not is_owed(v[4]) and not is_owed(v[15]) then return 'unfinished' end
  local key = record_key(id)
  leave_queue('active', id, v[6], v[7], v[8])
  note_move('v\tdeferred\t' .. (surplus_of ~= '' and 'no room' or '') .. '\t' .. due .. '\t', id)
  enter_queue('deferred', id, v[5], v[6], v[7], v[8])
  zadd_later(P .. ':due', due, id)
  call('HSET', key, 'q', 'deferred', 'g', digits(tonumber(v[2]) + 1), 'qe', digits(now_ms), 'due', due)
  if v[14] then
    call('HDEL', key, 'bw')
    call('ZREM', P .. ':owed', id)
  end
  if count_attempt == '1' then call('HINCRBY', key, 'a', 1) end
  if surplus_of ~= '' then
    call('HSET', key, 'sp', surplus_of)
    zadd_later(surplus_key(surplus_of), v[5], id)
    surplus_keys[surplus_key(surplus_of)] = true
  end
  return 'done'
end

local function owe_report(id, v, kind)
  if kind == 'failure' and not is_owed(v[4]) then return 'unfinished' end
  if kind == 'success' and not is_owed(v[15]) then return 'unfinished' end
  if kind == 'delay' and v[3] == '0' then return 'unfinished' end
  call('HSET', record_key(id), 'bw', kind)
  note_together('w\t' .. kind, id)
  call('ZADD', P .. ':owed', now_ms, id)
  return 'done'
end

local answers = {}
for i = 3, #ARGV, 6 do
  local id, action = ARGV[i], ARGV[i + 2]
  local v = redis.pcall('HMGET', record_key(id), 'q', 'g', 'u', 'fl', 'at', 'sd', 'ds', 'lg', 'n', 'rg', 'c', 'fin', 'o', 'bw', 'su', 'sf')
  local answer = 'stale'
  if not v.err and v[1] == 'active' and v[2] == ARGV[i + 1] then
    if action ~= 'corrupt' and v[13] and v[13] ~= '' then
      answer = 'unfinished'
    elseif action == 'remove' then
      answer = remove(id, v)
    elseif action == 'defer' then
      answer = defer(id, v, ARGV[i + 3], ARGV[i + 4], ARGV[i + 5])
    elseif action == 'report' then
      answer = owe_report(id, v, ARGV[i + 3])
    else
      answer = park_corrupt(id, ARGV[i + 3], ARGV[i + 1]) == 'moved' and 'done' or 'stale'
    end
  end
  answers[#answers + 1] = answer
end
flush_indexes()
for key in pairs(surplus_keys) do call('EXPIRE', key, surplus_life_seconds) end
return answers
