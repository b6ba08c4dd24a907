#!lua flags=no-writes
--[[
  count-ages: counts of a queue's domains by age of arrival, from the indexes.

  KEYS[1] domain names of the queue   ARGV prefix, queue, kind ('d' recipients | 's' senders), number of limits, limits:
          arrival must be above each to be in the bucket before it, falling; then the domains
  Returns, per domain, one count per bucket.
  Source: spec A6, A7; DESIGN §3 "Indexes".
]]
-- @include base
local queue, kind, limits = ARGV[2], ARGV[3], tonumber(ARGV[4])
local rows = {}
for i = 5 + limits, #ARGV do
  local hash = string.sub(redis.sha1hex(ARGV[i]), 1, 16)
  local key, extra = fmt('%s:%s:%s:%s', P, kind, queue, hash), fmt('%s:x:%s:%s', P, queue, hash)
  local row, upper = {}, '+inf'
  for b = 1, limits + 1 do
    local lower = b <= limits and '(' .. ARGV[4 + b] or '-inf'
    row[b] = call('ZCOUNT', key, lower, upper)
    if kind == 'd' then
      for _, member in ipairs(call('ZRANGEBYSCORE', extra, lower, upper)) do
        row[b] = row[b] + tonumber(string.match(member, '^(%d+):'))
      end
    end
    upper = b <= limits and ARGV[4 + b] or upper
  end
  rows[#rows + 1] = row
end
return rows
