--[[
  outcomes: recording what came of recipients. An outcome is a fact about (message, recipient), recorded whatever
  queue, generation or claim the message has by then; a recipient that is done stays done (DESIGN §3).

  `outcomes` is a list of { number, kind ('s', 't', 'f'), state text after the kind }.
  Returns false when the record is gone: then nothing is written, and no key is made.
]]
local function record_outcomes(id, outcomes)
  local key = record_key(id)
  local v = call('HMGET', key, 'q', 'at', 'ds', 'u', 'fl', 'rr', 'rg', 'lg')
  local queue, arrival, summary, round = v[1], v[2], v[3], v[6] or '0'
  if not queue then return false end
  local undone, failed = tonumber(v[4]), tonumber(v[5] or '0')
  local counts, changed = {}, false
  for _, outcome in ipairs(outcomes) do
    local number = tonumber(outcome[1])
    local chunk = recipient_key(id, number, v[7])
    local old = call('HMGET', chunk, outcome[1], 's' .. outcome[1])
    if old[1] and not is_done(old[2], round) then
      if outcome[2] == 's' then
        call('HSET', chunk, 's' .. outcome[1], 'd')
      elseif outcome[2] == 't' then
        call('HSET', chunk, 's' .. outcome[1], 't\n' .. outcome[3])
      else
        call('HSET', chunk, 's' .. outcome[1], 'f' .. round .. '\n' .. outcome[3])
        failed = failed + 1
      end
      if outcome[2] ~= 't' then
        undone = undone - 1
        local domain = counted_domain(old[1])
        counts[domain] = (counts[domain] or 0) + 1
        changed = true
      end
    end
  end
  if changed then
    local fields = { 'u', digits(undone) }
    if v[8] then
      for domain, count in pairs(counts) do
        if call('HINCRBY', P .. ':md:' .. id, domain, -count) <= 0 then
          call('HDEL', P .. ':md:' .. id, domain)
        end
      end
    else
      fields[3], fields[4] = 'ds', shrink_domains(queue, id, arrival, summary, counts)
    end
    if failed > 0 then
      fields[#fields + 1] = 'fl'
      fields[#fields + 1] = digits(failed)
    end
    call('HSET', key, unpack(fields))
  end
  return true
end
