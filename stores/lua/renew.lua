-- renew: the holder of a lease keeps it, and gets the user's present request for the job.
-- KEYS job  ARGV chunk attempt worker ttl_ms
-- returns ok | paused | cancelled | done | lost | unknown
local job, chunk, attempt, worker, ttl = KEYS[1], ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('EXISTS', job) == 0 then return 'unknown' end
if redis.call('GETBIT', job .. ':done', chunk) == 1 then return 'done' end
local mine = attempt .. ' ' .. worker
local holder = redis.call('HGET', job .. ':holders', chunk)
if not holder then
  -- Redis forgot everything (no attempt known): take the lease up again. Expired and cleared: it is lost.
  if redis.call('HEXISTS', job .. ':attempts', chunk) == 1 or redis.call('GETBIT', job .. ':failed', chunk) == 1 then
    return 'lost'
  end
  redis.call('HSET', job .. ':holders', chunk, mine)
  redis.call('HSET', job .. ':attempts', chunk, string.match(attempt, '^(%d+)-'))
  redis.call('ZREM', job .. ':again', chunk)
  redis.call('ZREM', job .. ':sent', chunk)
elseif holder ~= mine then
  return 'lost'
end
local time = redis.call('TIME')
redis.call('ZADD', job .. ':leases', time[1] * 1000 + math.floor(time[2] / 1000) + ttl, chunk)
if redis.call('HGET', job, 'cancelled') == '1' then return 'cancelled' end
if redis.call('HGET', job, 'paused') == '1' then return 'paused' end
return 'ok'
