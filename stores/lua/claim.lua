-- claim: one worker leases a chunk, or gets the reason why it cannot.
-- KEYS job fit  ARGV chunk worker nonce ttl_ms
-- A worker that failed at the chunk a minute ago leaves it to one that is fit and has not tried it.
-- A worker that asks again with the nonce of its lease, because the answer was lost, gets the lease again.
-- returns {verdict, attempt number, and of a claimed chunk the fingerprint of the plan that is counted}
local job, chunk, worker, nonce, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', job) == 0 then return {'unknown', 0} end
if tonumber(chunk) >= tonumber(redis.call('HGET', job, 'total')) then return {'unknown', 0} end
redis.call('ZREM', job .. ':sent', chunk)
if redis.call('GETBIT', job .. ':done', chunk) == 1 then return {'done', 0} end
if redis.call('GETBIT', job .. ':failed', chunk) == 1 then return {'failed', 0} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local holder = redis.call('HGET', job .. ':holders', chunk)
if holder then
  local number = string.match(holder, '^(%d+)-')
  if holder ~= number .. '-' .. nonce .. ' ' .. worker then return {'leased', 0} end
  redis.call('ZADD', job .. ':leases', now + ttl, chunk)
  return {'claimed', tonumber(number), redis.call('HGET', job, 'plan') or ''}
end
if redis.call('HGET', job, 'cancelled') == '1' then return {'cancelled', 0} end
if redis.call('HGET', job, 'paused') == '1' then
  redis.call('ZADD', job .. ':again', chunk, chunk)
  return {'paused', 0}
end
local failed_at = redis.call('HGET', job .. ':blamed:' .. chunk, worker)
if failed_at and now - tonumber(failed_at) < 60000
    and redis.call('ZCOUNT', KEYS[2], now / 1000, '+inf') > redis.call('HLEN', job .. ':blamed:' .. chunk) then
  redis.call('ZADD', job .. ':later', now + 1000, chunk)
  return {'elsewhere', 0}
end
local number = redis.call('HINCRBY', job .. ':attempts', chunk, 1)
redis.call('ZREM', job .. ':again', chunk)
redis.call('ZREM', job .. ':later', chunk)
redis.call('ZADD', job .. ':leases', now + ttl, chunk)
redis.call('HSET', job .. ':holders', chunk, number .. '-' .. nonce .. ' ' .. worker)
return {'claimed', number, redis.call('HGET', job, 'plan') or ''}
