-- reconcile: chunks that are neither done nor leased are published again.
-- Leases that ran out are failed tries; publications older than `patience_ms` count as lost.
-- A chunk whose tries are used up stays among the published until it is settled: the process that was about to may die.
-- Where nobody has looked for half a lease, Redis or all orchestrators were away, and workers may not have been able to renew:
-- leases that ran out meanwhile get another term, and nothing is counted.
-- KEYS job fit  ARGV patience_ms max_tries ttl_ms
-- returns {chunks whose tries are used up, chunks to be done again}
local job, patience, max_tries = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local exhausted, again = {}, {}
if redis.call('EXISTS', job) == 0 then return {exhausted, again} end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ttl = tonumber(ARGV[3])
local looked = tonumber(redis.call('HGET', job, 'looked') or now)
redis.call('HSET', job, 'looked', now)
if now - looked > ttl / 2 then
  for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', job .. ':leases', '-inf', now)) do
    redis.call('ZADD', job .. ':leases', now + ttl, chunk)
  end
end
for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', job .. ':leases', '-inf', now)) do
  local holder = redis.call('HGET', job .. ':holders', chunk) or 'unknown'
  local attempt, worker = string.match(holder, '^(%S+) (.*)$')
  redis.call('RPUSH', job .. ':reasons:' .. chunk,
    'attempt ' .. (attempt or '?') .. ' on ' .. (worker or '?') .. ': its lease ran out; the worker died or was cut off')
  redis.call('ZREM', job .. ':leases', chunk)
  redis.call('HDEL', job .. ':holders', chunk)
  redis.call('HINCRBY', job, 'lapsed', 1)
  if failed_try(job, KEYS[2], chunk, worker or '?', max_tries, now) then
    exhausted[#exhausted + 1] = chunk
    redis.call('ZADD', job .. ':sent', now, chunk)
  else
    redis.call('ZADD', job .. ':again', chunk, chunk)
    again[#again + 1] = chunk
  end
end
for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', job .. ':sent', '-inf', now - patience)) do
  if redis.call('SISMEMBER', job .. ':spent', chunk) == 1 then
    redis.call('ZADD', job .. ':sent', now, chunk)
    exhausted[#exhausted + 1] = chunk
  else
    redis.call('ZREM', job .. ':sent', chunk)
    redis.call('ZADD', job .. ':again', chunk, chunk)
    again[#again + 1] = chunk
  end
end
return {exhausted, again}
