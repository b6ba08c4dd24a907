--[[
  acts: what an operator does to one message. Needs indexes, records, surplus and corrupt.

  A claimed request stays in the record (as in reopen-active) unless its message is deleted or requeued: then the fence
  before its dot is refused. A report that was owed to a sender is owed again after the message's next import, and who
  is at work on it finds it stale. Reasons and outcomes stay (A3).
  The mark `k:` of a dropped file stays whatever is done: without it the file would be taken in again.
]]
local function read_for_act(act, id)
  if act == 'delete' or act == 'requeue' then
    return redis.pcall('HMGET', record_key(id), 'q', 'g', 'at', 'sd', 'ds', 'lg', 'qe', 'o', 'bw', 'sp', 'due', 'sf', 'n',
      'rg', 'c', 'rn')
  end
  return redis.pcall('HMGET', record_key(id), 'q', 'g', 'at', 'sd', 'ds', 'lg', 'qe', 'o', 'bw', 'sp', 'due')
end

-- Who would be cleaned anew must be countable; what is deleted need not be.
local function is_readable(act, r)
  return not r.err and r[1] and tonumber(r[2]) and tonumber(r[3]) and r[4] and r[5]
    and (act ~= 'requeue' or is_total(tonumber(r[13])))
end

-- How many domains' indexes an act on it changes.
local function weight(r)
  if r.err or not r[5] or r[6] or only_domain(r[5]) then return 1 end
  local domains = 0
  for _ in string.gmatch(r[5], '\n%d+') do domains = domains + 1 end
  return domains
end

local due_key = P .. ':due'

-- Takes it out of the indexes of its queue.
local function leave(id, r)
  leave_queue(r[1], id, r[4], r[5], r[6])
  if r[1] == 'deferred' then
    zrem_later(due_key, id)
  elseif r[1] == 'active' then
    tell_leader('left', id)
  elseif r[1] == 'corrupt' then
    call('HDEL', P .. ':why', id)
  end
  if r[9] then zrem_later(P .. ':owed', id) end
  if r[10] then zrem_later(surplus_key(r[10]), id) end
end

-- Requests that nobody claimed are dropped, or all of them; returns those that stay open.
local function drop_requests(id, open, all)
  local kept, gone = {}, {}
  for number in string.gmatch(open, '%d+') do
    local request = not all and parse_request(call('HGET', record_key(id), 'R' .. number) or '')
    if request and request.state ~= 'q' then
      kept[#kept + 1] = number
    else
      gone[#gone + 1] = 'R' .. number
    end
  end
  call_long('HDEL', record_key(id), gone, 4000)
  return table.concat(kept, ' ')
end

local now_text, generation_texts = digits(now_ms), {}

-- Messages of a queue are of few generations.
local function generation_after(text)
  local after = generation_texts[text]
  if not after then
    after = digits(tonumber(text) + 1)
    generation_texts[text] = after
  end
  return after
end

local function enter(id, r, queue, ...)
  enter_queue(queue, id, r[3], r[4], r[5], r[6])
  call('HSET', record_key(id), 'q', queue, 'g', generation_after(r[2]), 'qe', now_text, ...)
end

local acts = {}

acts['delete'] = function(id, r)
  leave(id, r)
  delete_record(id, r[13], r[14], r[15], r[6], r[12])
end

-- From deferred its due time stays in the record: it is the same after its release.
acts['hold'] = function(id, r)
  leave(id, r)
  if r[9] then call('HDEL', record_key(id), 'bw', 'cl') end
  if r[10] then call('HDEL', record_key(id), 'sp') end
  if r[8] and r[8] ~= '' then
    enter(id, r, 'hold', 'o', drop_requests(id, r[8], false))
  else
    enter(id, r, 'hold')
  end
end

acts['release'] = function(id, r)
  leave(id, r)
  local due = tonumber(r[11]) and r[11] or digits(now_ms)
  zadd_later(due_key, due, id)
  if r[11] == due then
    enter(id, r, 'deferred')
  else
    enter(id, r, 'deferred', 'due', due)
  end
end

-- `rn` says that its recipients' numbers were used: those that cleanup makes of them are new ones. `fin` goes with the
-- release: until then nobody is undone.
acts['requeue'] = function(id, r)
  leave(id, r)
  if r[8] and r[8] ~= '' then drop_requests(id, r[8], true) end
  call('HDEL', record_key(id), 'o', 'bw', 'cl', 'cc', 'cr', 'lc', 'oc', 'due', 'sp', 'ut', 'x', 'a', 'la', 'by')
  enter(id, r, 'maildrop', 'ct', digits(now_ms), 'rn', r[16] or '0')
end

-- What is in active acts on it at its next import. One that is expired already is no hit, as in postsuper.c.
acts['expire'] = function(id, r)
  if call('HSETNX', record_key(id), 'x', '1') == 0 then return 'absent' end
  -- After its release it is due at once.
  if r[1] == 'hold' and r[11] then call('HDEL', record_key(id), 'due') end
  note_together('k\texpired', id)
end

acts['retry'] = function(id, r)
  leave(id, r)
  if r[11] then call('HDEL', record_key(id), 'due') end
  if r[10] then call('HDEL', record_key(id), 'sp') end
  enter(id, r, 'incoming')
end

-- Rubbish in the place of a record, or an index that names nothing.
local function scrap(id, r)
  note_left(id)
  forget_everywhere(id)
  call('ZREM', P .. ':q:corrupt', id)
  call('HDEL', P .. ':why', id)
  if not r.err and r[12] then leave_sender(r[12], id) end
  delete_record(id, not r.err and r[13], r[14], r[15], not r.err and r[6])
end

local function is_listed(id, queues)
  for queue in pairs(queues) do
    if call('ZSCORE', P .. ':q:' .. queue, id) then return true end
  end
  return false
end

-- done | absent | unreadable. `r` is what read_for_act gave; `begun`: what entered its queue later is left alone.
local function act_on(act, id, r, queues, begun)
  because(act)
  if is_readable(act, r) then
    if not queues[r[1]] or (tonumber(r[7]) or 0) > begun then return 'absent' end
    return acts[act](id, r) or 'done'
  end
  if not is_listed(id, queues) then return 'absent' end
  if act ~= 'delete' then return 'unreadable' end
  scrap(id, r)
  return 'done'
end

-- True when a step has held Redis for long enough: by its clock, and by the work if the clock stands during a script.
local started_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local worked, next_look = 0, 32
local function is_enough(work, budget_us, most_work)
  worked = worked + work
  if worked >= most_work then return true end
  if worked < next_look then return false end
  next_look = worked + 32
  local now = call('TIME')
  return tonumber(now[1]) * 1000000 + tonumber(now[2]) - started_us >= budget_us
end

-- Counts what was done for an operation, in the script that did it: its total is right whoever dies over a step.
local function count_for(operation_key, act, done)
  if operation_key and done > 0 and call('EXISTS', operation_key) == 1 then
    call('HINCRBY', operation_key, 'n:' .. act, done)
  end
end
