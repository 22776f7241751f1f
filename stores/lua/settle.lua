-- settle: record that a chunk is done (its done.json exists) or failed (its failed.json exists). Repeatable.
-- A copy of the commit, where one is given, waits in a job of at least `least` chunks while fewer than `most` wait.
-- KEYS job  ARGV chunk what(done|failed) frames copy least most
-- returns 1 the first time, 0 afterwards, -1 when the job is unknown here
local job, chunk, what, frames = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
if redis.call('EXISTS', job) == 0 then return -1 end
redis.call('ZREM', job .. ':sent', chunk)
redis.call('ZREM', job .. ':again', chunk)
redis.call('ZREM', job .. ':later', chunk)
redis.call('ZREM', job .. ':leases', chunk)
redis.call('HDEL', job .. ':holders', chunk)
if redis.call('GETBIT', job .. ':done', chunk) == 1 then return 0 end
if what == 'failed' then
  if redis.call('SETBIT', job .. ':failed', chunk, 1) == 1 then return 0 end
  redis.call('HINCRBY', job, 'failed', 1)
  return 1
end
if redis.call('SETBIT', job .. ':failed', chunk, 0) == 1 then redis.call('HINCRBY', job, 'failed', -1) end
redis.call('SETBIT', job .. ':done', chunk, 1)
redis.call('HINCRBY', job, 'done', 1)
redis.call('HINCRBY', job, 'frames_done', frames)
local time = redis.call('TIME')
redis.call('LPUSH', job .. ':recent', time[1] .. '.' .. string.format('%06d', time[2]) .. ' ' .. frames)
redis.call('LTRIM', job .. ':recent', 0, 63)
if ARGV[4] and ARGV[4] ~= '' and tonumber(redis.call('HGET', job, 'total')) >= tonumber(ARGV[5])
    and redis.call('LLEN', job .. ':copies') < tonumber(ARGV[6]) then
  redis.call('RPUSH', job .. ':copies', ARGV[4])
end
return 1
