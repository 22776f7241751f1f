-- revive: chunks that were set aside may be tried again (`respool retry`).
-- KEYS job  ARGV chunk...
-- returns how many were revived
local job, count = KEYS[1], 0
for _, chunk in ipairs(ARGV) do
  if redis.call('SETBIT', job .. ':failed', chunk, 0) == 1 then
    redis.call('HINCRBY', job, 'failed', -1)
    redis.call('HDEL', job .. ':tries', chunk)
    redis.call('SREM', job .. ':spent', chunk)
    redis.call('DEL', job .. ':blamed:' .. chunk)
    redis.call('ZADD', job .. ':again', chunk, chunk)
    count = count + 1
  end
end
return count
