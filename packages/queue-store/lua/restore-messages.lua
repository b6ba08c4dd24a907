#!lua
--[[
  restore-messages: messages from copies, each whole or not at all, under their own ids: into their queues, or, not ready,
  beside them.

  KEYS  records   ARGV prefix, identity, 'ready' | 'coming', key of the reader's place or '', where it stands, where it
          then stands, number of messages, then each: id, queue, content id, content chunks, inline? ('1' or ''), inline content,
          round, staged chunks "chunk:fields …", large ('1' or ''), why, name of the move, number of fields, that many
          names and values of the record
  Returns, per message: stored | already (this id is here; nothing is changed) | arrived (by this move, before) |
          expired (what was stored ahead is gone). Or {'overtaken'}: the place is no longer where the caller thinks;
          ready: {'expired'}: nothing was stored.
          IDENTITY error as commit-messages. Refused at maxmemory (no allow-oom).
  A place makes a reading of many messages safe to break off: it moves in the same act. Not ready: it goes by itself
  after an hour; the same move again renews that.
  Source: DESIGN §5; P9.
]]
-- @include base
-- @include indexes
-- @include records
-- @include copies
if call('GET', P .. ':identity') ~= ARGV[2] then
  return redis.error_reply('IDENTITY the store is not the one that this process knows')
end
local is_ready, place = ARGV[3] == 'ready', ARGV[4]
if place ~= '' and (call('GET', place) or '') ~= ARGV[5] then return { 'overtaken' } end
local place_life_seconds = 30 * 86400
local cursor = 7
local function arg()
  cursor = cursor + 1
  return ARGV[cursor]
end

local function read_copy()
  local m = {
    id = arg(), queue = arg(), content = arg(), content_chunks = tonumber(arg()), is_inline = arg() == '1', inline = arg(),
    round = arg(), chunks = arg(), large = arg() == '1', why = arg(), move = arg(), fields = {},
  }
  for i = 1, tonumber(arg()) do m.fields[i] = arg() end
  return m
end

local function is_complete(m)
  return are_there(m.id, m.chunks, m.round, m.large, m.content, m.is_inline and 0 or m.content_chunks)
end

local function belongings_of(m)
  return belongings(m.id, m.chunks, m.round, m.large, m.content_chunks > 0 and m.content or nil)
end

local function write(m, key)
  call_long('HSET', key, m.fields, 6000)
  if m.is_inline then call('HSET', P .. ':c:' .. m.content, '0', m.inline) end
end

local function restore_ready(m)
  if is_taken(m.id) then return 'already' end
  write(m, record_key(m.id))
  for _, key in ipairs(belongings_of(m)) do call('PERSIST', key) end
  enter_restored(m.id, m.why)
  return 'stored'
end

local function restore_coming(m)
  if call('GET', arrived_key(m.id)) == m.move then return 'arrived' end
  if is_taken(m.id) then return 'already' end
  if not is_complete(m) then return 'expired' end
  local key = coming_key(m.id)
  -- What an earlier try left names other keys, which expire by themselves.
  call('DEL', key)
  write(m, key)
  call('HSET', key, 'mt', m.move, 'wy', m.why, 'cs', m.chunks)
  call('EXPIRE', key, coming_life_seconds)
  for _, each in ipairs(belongings_of(m)) do call('EXPIRE', each, coming_life_seconds) end
  return 'stored'
end

because('restored')
local answers, copies = {}, {}
for i = 1, tonumber(ARGV[7]) do
  copies[i] = read_copy()
  -- The place must not move past a message that can't be stored.
  if is_ready and not is_taken(copies[i].id) and not is_complete(copies[i]) then return { 'expired' } end
end
for i, m in ipairs(copies) do answers[i] = is_ready and restore_ready(m) or restore_coming(m) end
if place ~= '' then call('SET', place, ARGV[6], 'EX', place_life_seconds) end
flush_indexes()
return answers
