--[[
  base: what every script that changes records begins with.

  ARGV[1] is always the instance's key prefix, `postmq:{instance}`. All keys share its hash slot, so index keys may
  be computed (DESIGN §3 "Indexes"). A domain enters a key only by its hash.
]]
local P = ARGV[1]
local call = redis.call
local time = call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local fmt = string.format

-- Lua prints large numbers with an exponent; keys and fields want whole digits.
local function digits(n) return fmt('%.0f', n) end

local recipients_per_chunk = 1000

-- As readers want one: Lua would take "nan" or "0x1f" too.
local function is_number(text)
  return text and #text <= 40 and (string.match(text, '^%d+$') or string.match(text, '^%d+%.%d+$'))
end

-- A record that counts more recipients is damaged: no walk over their numbers would end in reasonable time.
local most_recipient_numbers = 2000000
local function is_total(n) return n and n >= 0 and n <= most_recipient_numbers end

-- Most ids are asked for several times in a row.
local record_head, last_id, last_record_key = P .. ':m:', nil, nil
local function record_key(id)
  if id ~= last_id then last_id, last_record_key = id, record_head .. id end
  return last_record_key
end

-- Recipients 0..999 stand in the record itself; later ones in chunks named by the record's recipient round `rg`.
local function recipient_key(id, number, round)
  if number < recipients_per_chunk then return record_key(id) end
  return fmt('%s:m:%s:%s:%d', P, id, round or '0', math.floor(number / recipients_per_chunk))
end

-- Counts of a message of very many domains, named by the same round.
local function domains_key(id, round) return fmt('%s:md:%s:%s', P, id, round or '0') end

-- redis.call('X', key, unpack(list)) for lists of any length: Lua's stack holds some 8 000.
local function call_long(command, key, list, step)
  local n = #list
  if n == 0 then return end
  if n <= step then return call(command, key, unpack(list)) end
  for from = 1, n, step do
    call(command, key, unpack(list, from, math.min(from + step - 1, n)))
  end
end
