#!lua flags=allow-oom
--[[
  open-message: claim a message in maildrop for cleanup, or one whose report is owed for bounce.

  KEYS[1] record   ARGV prefix, id, kind ('clean' | 'report'), claim, heartbeat ms, alone ('1': nothing else is open in the caller), crash limit
  Returns {'opened', generation, arrival, envelope, content, size, chunks, n, rr, sr, report kind, counts: fl, u and su, first
          number for recipients that cleanup makes of these} |
          {'busy'} | {'stale'} | {'alone'}: open it again with nothing else open | {'limit'}: it crashed too often |
          {'unreadable'}: the key is no record
  The caller's own claim is left over from an attempt that ended without an answer: it is at work on each message once.
  A claim is alive while w:<claim> exists. A dead one counts as a crash: after one, the message is opened alone only,
  so that its neighbours never pay.
  Source: DESIGN §3 "A message whose worker crashed"; fault 39.
]]
-- @include base
-- @include timeline
local id, kind, claim, hold, alone, limit =
  ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6] == '1', tonumber(ARGV[7])
local key = record_key(id)
local v = redis.pcall('HMGET', key, 'q', 'g', 'at', 'e', 'c', 'sz', 'ch', 'n', 'rr', 'sr', 'cl', 'cc', 'bw', 'fl', 'u', 'su', 'rn')
if v.err then return { 'unreadable' } end
if not v[1] then return { 'stale' } end
if kind == 'clean' and v[1] ~= 'maildrop' then return { 'stale' } end
if kind == 'report' and not v[13] then return { 'stale' } end
if not is_total(tonumber(v[8])) then return { 'unreadable' } end
local crashes = tonumber(v[12] or '0')
if v[11] and v[11] ~= claim then
  if call('EXISTS', P .. ':w:' .. v[11]) == 1 then
    return { 'busy' }
  else
    crashes = call('HINCRBY', key, 'cc', 1)
    call('HDEL', key, 'cl')
  end
end
if crashes > limit then return { 'limit' } end
if crashes > 0 and not alone then return { 'alone' } end
call('SET', P .. ':w:' .. claim, '1', 'PX', hold)
call('HSET', key, 'cl', claim)
note('o\t' .. claim .. '\t' .. kind .. '\t' .. id)
flush_timeline()
return { 'opened', v[2], v[3], v[4] or '', v[5] or id, v[6], v[7], v[8], v[9] or '0', v[10] or '0', v[13] or '',
  (v[14] or '0') .. ' ' .. (v[15] or '0') .. ' ' .. (v[16] or '0'), v[17] and v[8] or '0' }
