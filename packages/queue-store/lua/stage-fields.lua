--[[
  stage-fields: a part of a message that goes ahead of it (content, recipients, counts), with the expiry that ends it if
  nobody commits it.

  KEYS[1] hash   ARGV prefix, seconds it lives, field, value, field, value …: at most 7 000
  In one script: who dies in between would leave a part that never expires.
  Repeated (an answer that was lost) it writes the same again.
  Source: DESIGN §3.
]]
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
return redis.call('EXPIRE', KEYS[1], ARGV[2])
