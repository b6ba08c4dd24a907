#!lua flags=allow-oom
--[[
  check-names: holds the counts of domains against the entries that they count.

  KEYS[1] dc:<queue> or sc:<queue>   ARGV prefix, mend ('1' | ''), kind ('dc' | 'sc'), queue, then domains
  Returns {{domain, kind, text, difference} …}; kind `many`: its entries are too many to add up here, the difference is
          what it says less its messages
  Source: DESIGN §3 "Indexes"; spec A6.
]]
-- @include base
-- @include indexes
-- @include findings
local names, kind, queue = KEYS[1], ARGV[3], ARGV[4]
for i = 5, #ARGV do
  local domain = ARGV[i]
  local says, count = call('HGET', names, domain), name_count(kind, queue, domain)
  if not count then
    findings[#findings + 1] = { domain, 'many', '', digits(tonumber(says or '0') - members_of(domain_key('d', queue, domain))) }
  elseif tonumber(says or '0') ~= count then
    local text = fmt('%s:%s counts %s, its entries %d', kind, queue, says or '0', count)
    find(domain, 'names', text, function() mend_name(kind, queue, domain) end)
  end
end
return findings
