#!lua flags=allow-oom
--[[
  mend-due: a step of the full pass over deferred: what the index of due times misses is put there again.

  KEYS[1] index of deferred by entry   ARGV prefix, fence, cursor ('' at first), most messages
  Returns the next cursor, or '' at the end | FENCED error
  Source: spec S6.
]]
-- @include base
-- @include fence
-- @include paging
local ids, next_cursor = read_page(KEYS[1], ARGV[3], tonumber(ARGV[4]))
if #ids > 0 then
  local scores = call('ZMSCORE', P .. ':due', unpack(ids))
  for i, id in ipairs(ids) do
    if not scores[i] then
      local v = redis.pcall('HMGET', record_key(id), 'q', 'due')
      -- What can't be read is due too: the import puts it away.
      if v.err or not v[1] then
        call('ZADD', P .. ':due', now_ms, id)
      elseif v[1] == 'deferred' then
        local due = tonumber(v[2]) or now_ms
        call('ZADD', P .. ':due', digits(due), id)
        if not tonumber(v[2]) then call('HSET', record_key(id), 'due', digits(due)) end
      end
    end
  end
end
return next_cursor
