#!lua flags=allow-oom
--[[
  lead: the leader's lease and fence.

  KEYS[1] leader (lease)   ARGV prefix, verb ('acquire' | 'renew' | 'release'), fence or '', lease ms
  Returns acquire: the new fence, or '' while another lease lives | renew, release: '1', or '' when it is not ours
  A fence is Redis TIME in microseconds, always greater than the last, so that neither a restore nor a fail-over
  lowers it; it stays when the lease runs out, and every script of a leader compares it.
  Source: DESIGN §4 "Leadership"; fault 6.
]]
-- @include base
local lease, verb, fence = KEYS[1], ARGV[2], ARGV[3]
local held = call('GET', lease)
if verb == 'acquire' then
  if held then return '' end
  local micros = fmt('%s%06d', time[1], tonumber(time[2]))
  local last = call('GET', P .. ':fence') or '0'
  -- Whole digits, compared by length and then as text: Lua's numbers keep 14 of them.
  if #last > #micros or (#last == #micros and last >= micros) then
    local head, tail = string.sub(last, 1, -7), tonumber(string.sub(last, -6)) + 1
    if tail > 999999 then head, tail = digits(tonumber(head) + 1), 0 end
    micros = fmt('%s%06d', head, tail)
  end
  call('SET', P .. ':fence', micros)
  call('SET', lease, micros, 'PX', ARGV[4])
  return micros
end
if held ~= fence then
  -- The lease ran out, but nobody else was elected: it is still ours to renew.
  if verb == 'renew' and not held and call('GET', P .. ':fence') == fence then
    call('SET', lease, fence, 'PX', ARGV[4])
    return '1'
  end
  return ''
end
if verb == 'renew' then
  call('PEXPIRE', lease, ARGV[4])
else
  call('DEL', lease)
end
return '1'
