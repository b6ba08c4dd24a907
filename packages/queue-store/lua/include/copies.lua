--[[
  copies: whole messages that leave for another instance or a file, or come from there. Needs indexes and records.

    away:<id>     the record of a message that is on its way out: in no queue, and no script but those of copies knows it.
                  Its further fields: mt name of the move, mto where to. Its recipients' chunks and its content stay where
                  they are.
    coming:<id>   the record of a message that is on its way in; it expires, with all that belongs to it, unless made
                  ready. Its further fields: mt name of the move, wy why it is in corrupt, cs "chunk:fields …" of
                  recipients stored ahead.
    moving        zset id by ms: those that are away
    arrived:<id>  name of the move by which it came, until an hour after the other side has dropped it: what came may be
                  delivered and gone before that, and must not come again

  The name of a move is made of the instance, the id and the generation that it leaves, so no two moves share one.
]]
local coming_life_seconds = 3600
local arrived_life_seconds = 90 * 86400

local function away_key(id) return P .. ':away:' .. id end
local function coming_key(id) return P .. ':coming:' .. id end
local function arrived_key(id) return P .. ':arrived:' .. id end

local version_fields = { 'g', 'u', 'fl', 'su', 'rr', 'sr', 'x', 'wd', 'due', 'a' }

-- What changes with all that must not be lost of a message: its queue, who is done, reported or to be reported, forced
-- expiry, the warning, due time, attempts. Not with `la` and the reasons of deferrals alone: a copy may tell older ones.
-- `v` holds version_fields from `at` on.
local function version_of(v, at)
  local parts = {}
  for i = 0, #version_fields - 1 do parts[#parts + 1] = v[at + i] or '' end
  return table.concat(parts, ' ')
end

-- A delivery is under way, or cleanup or bounce has it. A dead claim of a delivery is one still: its leader reaps it.
local function is_claimed(key, open, claim)
  if claim and call('EXISTS', P .. ':w:' .. claim) == 1 then return true end
  for number in string.gmatch(open or '', '%d+') do
    local request = parse_request(call('HGET', key, 'R' .. number) or '')
    if request and request.state ~= 'q' then return true end
  end
  return false
end

-- An id that stands here in any form must not be stored again.
local function is_taken(id) return call('EXISTS', record_key(id), P .. ':k:' .. id, away_key(id)) > 0 end

-- Chunks of recipients, counts of a large message, content: what a record names beside itself.
local function belongings(id, chunks, round, large, content)
  local keys = {}
  for chunk in string.gmatch(chunks or '', '(%d+):%d+') do
    keys[#keys + 1] = fmt('%s:m:%s:%s:%s', P, id, round or '0', chunk)
  end
  if large then keys[#keys + 1] = domains_key(id, round) end
  if content then keys[#keys + 1] = P .. ':c:' .. content end
  return keys
end

local function are_there(id, chunks, round, large, content, content_chunks)
  for chunk, fields in string.gmatch(chunks or '', '(%d+):(%d+)') do
    if call('HLEN', fmt('%s:m:%s:%s:%s', P, id, round or '0', chunk)) < tonumber(fields) then return false end
  end
  if large and call('EXISTS', domains_key(id, round)) == 0 then return false end
  return content_chunks == 0 or call('HLEN', P .. ':c:' .. content) >= content_chunks
end

-- Puts a record that stands at m:<id> into its queue, as new there: the indexes, and clocks and numbers that begin so
-- high that no ring, request or claim of an earlier life of this id can mean it. In hold the due time stays in the record.
local function enter_restored(id, why)
  local key = record_key(id)
  local v = call('HMGET', key, 'q', 'at', 'sd', 'ds', 'lg', 'sf', 'due')
  call('HSET', key, 'g', digits(now_ms), 'rn', digits(now_ms), 'qe', digits(now_ms))
  enter_queue(v[1], id, v[2], v[3], v[4], v[5])
  enter_sender(v[6], id, v[2])
  if v[1] == 'deferred' then
    local due = v[7] or digits(now_ms)
    if not v[7] then call('HSET', key, 'due', due) end
    zadd_later(P .. ':due', due, id)
  end
  if why and why ~= '' then call('HSET', P .. ':why', id, why) end
end
