-- tries: counting failed tries by distinct workers. Put before the scripts that count.
-- A chunk is given up when its tries are used up and two workers have failed at it, or no other worker is fit to try;
-- at three times as many tries in any case.
local function failed_try(job, fit, chunk, worker, max_tries, now)
  redis.call('HINCRBY', job, 'retried', 1)
  redis.call('HSET', job .. ':blamed:' .. chunk, worker, now)
  local tries = redis.call('HINCRBY', job .. ':tries', chunk, 1)
  if tries < max_tries then return false end
  local others = redis.call('ZCOUNT', fit, now / 1000, '+inf')
  if redis.call('ZSCORE', fit, worker) then others = others - 1 end
  if redis.call('HLEN', job .. ':blamed:' .. chunk) < 2 and others > 0 and tries < 3 * max_tries then return false end
  redis.call('SADD', job .. ':spent', chunk)
  return true
end
