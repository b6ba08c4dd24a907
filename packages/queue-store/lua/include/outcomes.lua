--[[
  outcomes: recording what came of recipients. An outcome is a fact about (message, recipient), recorded whatever
  queue, generation or claim the message has by then; a recipient that is done stays done (DESIGN §3).

  `outcomes` is a list of { number, kind ('s', 't', 'f'), state text after the kind, for the timeline: relay, and of those
  sent "status\trelay\treply" }; a text after 's' says that a success report is owed. One that is sent with nothing for the
  timeline is not told there. Of a finished message (`fin`) everybody was told: a late failure is no news, and owes no report.
  `v` is what read_for_outcomes gave. Returns the record's fields that changed, flat, for the caller to write together
  with its own. When the record is gone (v[1] is false) nothing may be written: no key is made anew.
]]
-- The first recipient is read along: most messages have no other. Further fields are the caller's.
local function read_for_outcomes(id, outcomes, ...)
  local first = outcomes[1] and outcomes[1][1] or '0'
  return redis.pcall('HMGET', record_key(id), 'q', 'at', 'ds', 'u', 'fl', 'rr', 'rg', 'lg', first, 's' .. first, 'su', 'sr', 'fin', ...)
end

local outcomes_told = 100

-- What came of one recipient, in the timeline.
local function tell_outcome(id, recipient, outcome)
  local told = outcome[4] or ''
  if outcome[2] == 's' and told == '' then return end
  if outcome[2] ~= 's' then
    local status, reason = string.match(outcome[3], '^([^\n]*)\n([^\n]*)')
    told = (status or '') .. '\t' .. told .. '\t' .. string.sub(reason or '', 1, 250)
  end
  local cut = string.find(recipient, '\n', 1, true)
  note(outcome[2] .. '\t' .. (cut and string.sub(recipient, 1, cut - 1) or recipient) .. '\t' .. told .. '\t' .. id)
end

local function record_outcomes(id, outcomes, v)
  local queue, arrival, summary, round = v[1], v[2], v[3], v[6] or '0'
  local undone, failed, succeeded = tonumber(v[4]), tonumber(v[5] or '0'), tonumber(v[11] or '0')
  local counts, changed, fields, recorded = {}, false, {}, 0
  for i, outcome in ipairs(outcomes) do
    local number, text, kind = tonumber(outcome[1]), outcome[1], outcome[2]
    local recipient, state = v[9], v[10]
    if i > 1 or number >= recipients_per_chunk then
      -- A chunk that is no hash has no such recipient.
      local old = redis.pcall('HMGET', recipient_key(id, number, v[7]), text, 's' .. text)
      recipient, state = old[1], old[2]
    end
    if recipient and not is_done(state, round) then
      recorded = recorded + 1
      if recorded <= outcomes_told then tell_outcome(id, recipient, outcome) end
      local new = 'd'
      if kind == 't' then
        new = 't\n' .. outcome[3]
      elseif kind == 'f' and not v[13] then
        new = 'f' .. round .. '\n' .. outcome[3]
        failed = failed + 1
      elseif kind == 's' and outcome[3] ~= '' then
        new = 's' .. (v[12] or '0') .. '\n' .. outcome[3]
        succeeded = succeeded + 1
      end
      if number < recipients_per_chunk then
        fields[#fields + 1] = 's' .. text
        fields[#fields + 1] = new
      else
        call('HSET', recipient_key(id, number, v[7]), 's' .. text, new)
      end
      if kind ~= 't' then
        -- Of a finished message nobody is counted as undone any more, though a late word is recorded.
        undone = math.max(0, undone - 1)
        local domain = counted_domain(recipient)
        counts[domain] = (counts[domain] or 0) + 1
        changed = true
      end
    end
  end
  if recorded > outcomes_told then note('n\t' .. digits(recorded - outcomes_told) .. '\t' .. id) end
  if changed then
    fields[#fields + 1] = 'u'
    fields[#fields + 1] = digits(undone)
    if v[8] then
      for domain, count in pairs(counts) do
        local key = domains_key(id, v[7])
        if call('HINCRBY', key, domain, -count) <= 0 then call('HDEL', key, domain) end
      end
    else
      fields[#fields + 1] = 'ds'
      fields[#fields + 1] = shrink_domains(queue, id, arrival, summary, counts)
    end
    if failed > 0 then
      fields[#fields + 1] = 'fl'
      fields[#fields + 1] = digits(failed)
    end
    if succeeded > 0 then
      fields[#fields + 1] = 'su'
      fields[#fields + 1] = digits(succeeded)
    end
  end
  return fields
end
