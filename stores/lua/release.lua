-- release: the holder gives a chunk back. A counted release is a failed try; others cost nothing.
-- KEYS job fit  ARGV chunk attempt worker reason counted max_tries delay_ms
-- A release that is not counted goes out again after `delay_ms`.
-- A chunk whose tries are used up stays among the published until it is settled: the process that was about to may die.
-- returns again | exhausted | lost | unknown
local job, chunk, reason = KEYS[1], ARGV[1], ARGV[4]
if redis.call('EXISTS', job) == 0 then return 'unknown' end
if redis.call('HGET', job .. ':holders', chunk) ~= ARGV[2] .. ' ' .. ARGV[3] then return 'lost' end
redis.call('HDEL', job .. ':holders', chunk)
redis.call('ZREM', job .. ':leases', chunk)
redis.call('HINCRBY', job, 'handed_back', 1)
local kind = ARGV[5] == '1' and 'attempt ' or 'handed back by attempt '
redis.call('RPUSH', job .. ':reasons:' .. chunk, kind .. ARGV[2] .. ' on ' .. ARGV[3] .. ': ' .. reason)
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[5] == '1' then
  if failed_try(job, KEYS[2], chunk, ARGV[3], tonumber(ARGV[6]), now) then
    redis.call('ZADD', job .. ':sent', now, chunk)
    return 'exhausted'
  end
elseif tonumber(ARGV[7]) > 0 then
  redis.call('ZADD', job .. ':later', now + tonumber(ARGV[7]), chunk)
  return 'again'
end
redis.call('ZADD', job .. ':again', chunk, chunk)
return 'again'
