--[[
  records: reading and changing what a record says of its recipients and requests.

  Fields of a record m:<id>:
    q queue · g generation · at arrival ms · ct created ms · qe entered its queue ms · sz content bytes · ch chunks ·
    c content id (absent: the id) · e envelope JSON · sd sender domain · sf hash of the sender, for its index · n recipients in all · u undone · ds domains ·
    lg '1' for a large message · fl failed and unreported · rr report round · su sent, success report owed · sr its round · fin '1' finished, to be removed ·
    due ms · sp where it waits as surplus (include/surplus) · a attempts · la last attempt ms · cr crashes of delivery workers (lc the last one counted) · oc crashes of the leader while importing it ·
    cc crashes of cleanup or bounce · cl their claim · bw kind of the report owed · rn last request number · o open request numbers ·
    x '1' forced expiry · wd warned of the delay: '1', or nobody wanted it: 'n' · ut '1' flushed by its id: lifts throttles, told once · rg recipient round · <i> recipient i · s<i> its state · R<n> request n
  A recipient is "address\ncounted domain or ''\noriginal\norcpt\nnotify" with empty ends cut off.
  A state is 'd' (done), 't\nstatus\nreason\nremote JSON' (deferred), 'f<round>\nstatus\nreason\nremote JSON' (failed;
  reported, so done, when the round is below the record's rr), or 's<round>\nstatus\nreason\nremote JSON\naction' (sent,
  and a success report is owed; nothing is owed when the round is below the record's sr).
  A request is "generation\nstate\nclaim\ntransport\nnexthop\nrecipients", state q, c or d, recipients as "0-4,7"; then
  "\nsite" if it counts at the site of its next hop.
]]
local function is_done(state, round)
  if not state then return false end
  local first = string.sub(state, 1, 1)
  if first == 'd' or first == 's' then return true end
  if first ~= 'f' then return false end
  return true, tonumber(string.match(state, '^f(%d+)')) >= (tonumber(round) or 0)
end

-- Sent, and its success report is not yet queued.
local function owes_success(state, round)
  local of = state and string.match(state, '^s(%d+)')
  return of and tonumber(of) >= (tonumber(round) or 0)
end

local function counted_domain(recipient)
  local address, domain = string.match(recipient, '^([^\n]*)\n?([^\n]*)')
  if domain ~= '' then return domain end
  return string.lower(string.match(address, '@([^@]*)$') or address)
end

local function parse_request(text)
  local generation, state, claim, transport, nexthop, recipients, site =
    string.match(text, '^(%d+)\n(%a)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n([^\n]*)\n?([^\n]*)$')
  if not generation then return nil end
  return { generation = generation, state = state, claim = claim, transport = transport, nexthop = nexthop,
    recipients = recipients, site = site }
end

local function request_text(r)
  local text = table.concat({ r.generation, r.state, r.claim, r.transport, r.nexthop, r.recipients }, '\n')
  return r.site == '' and text or text .. '\n' .. r.site
end

local function recipient_numbers(text)
  local numbers = {}
  for from, to in string.gmatch(text, '(%d+)%-?(%d*)') do
    for number = tonumber(from), tonumber(to ~= '' and to or from) do numbers[#numbers + 1] = number end
  end
  return numbers
end

local function drop_open(open, number)
  local left = {}
  for other in string.gmatch(open or '', '%d+') do
    if other ~= number then left[#left + 1] = other end
  end
  return table.concat(left, ' ')
end

-- Content is shared by count (`refs`, absent: one). Nothing writes `refs` today: whoever lets messages share content finds
-- deletion and the check ready for it. True when this was the last one that named it.
local function release_content(content)
  local key = P .. ':c:' .. content
  local references = call('HGET', key, 'refs')
  if references and tonumber(references) > 1 then
    call('HINCRBY', key, 'refs', -1)
    return false
  end
  return true
end

local function drop_content(content)
  if release_content(content) then call('UNLINK', P .. ':c:' .. content) end
end

-- Removes a record, its recipients, its content and its place among its sender's. The queue's indexes are the caller's.
local function delete_record(id, total, round, content, large, sender)
  if sender then leave_sender(sender, id) end
  local keys = {}
  -- Of a damaged record what is beyond is left to the check.
  local behind = math.min(tonumber(total) or 0, most_recipient_numbers)
  for number = recipients_per_chunk, behind - 1, recipients_per_chunk do
    keys[#keys + 1] = recipient_key(id, number, round)
  end
  if large then keys[#keys + 1] = domains_key(id, round) end
  if release_content(content or id) then keys[#keys + 1] = P .. ':c:' .. (content or id) end
  call_long('UNLINK', record_key(id), keys, 4000)
  if #keys == 0 then call('UNLINK', record_key(id)) end
end

-- Takes `counts` (domain -> recipients now done) out of a domain summary, and out of the queue's indexes.
local function shrink_domains(queue, id, arrival, summary, counts)
  local left = {}
  for domain, text in string.gmatch(summary, '([^\n]+)\n(%d+)') do
    local count, minus = tonumber(text), counts[domain]
    if minus then
      leave_domain(queue, id, domain, count)
      count = count - minus
      if count > 0 then enter_domain(queue, id, arrival, domain, count) end
    end
    if count > 0 then
      left[#left + 1] = domain
      left[#left + 1] = digits(count)
    end
  end
  return table.concat(left, '\n')
end

-- Events for the leader: one numbered entry per script, written with the change it tells of.
local events = {}
local function tell_leader(...)
  events[#events + 1] = table.concat({ ... }, '\t')
end

local function flush_events()
  if #events == 0 then return end
  call('XADD', P .. ':events', 'MAXLEN', '~', 10000, '*', 'n', call('INCR', P .. ':eventno'), 'e',
    table.concat(events, '\n'))
end
