#!lua flags=no-writes
--[[
  select-candidates: a page of an index of messages by arrival, in its own order, whatever comes and goes meanwhile.

  KEYS[1] index   ARGV prefix, cursor ('' at first), least and most arrival ms ('-inf', '+inf'), entries looked at,
  the domain if the index doesn't tell it (that of messages of very many domains) or ''
  Returns {{id …}, next cursor or '', entries looked at, {score of each id …}}
  Source: DESIGN §3 "Indexes".
]]
-- @include base
-- @include paging
local domain = ARGV[6]
local ids, next_cursor, scores = read_page(KEYS[1], ARGV[2], tonumber(ARGV[5]), ARGV[3], ARGV[4])
if domain == '' then return { ids, next_cursor, #ids, scores } end
local wanted, wanted_scores = {}, {}
for i, id in ipairs(ids) do
  local round = redis.pcall('HGET', record_key(id), 'rg')
  if type(round) ~= 'table' and (tonumber(call('HGET', domains_key(id, round), domain)) or 0) > 0 then
    wanted[#wanted + 1] = id
    wanted_scores[#wanted] = scores[i]
  end
end
return { wanted, next_cursor, #ids, wanted_scores }
