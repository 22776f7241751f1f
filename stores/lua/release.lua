-- release: the holder gives a chunk back. A counted release is a failed try; others cost nothing.
-- KEYS job  ARGV chunk attempt worker reason counted max_tries
-- A chunk whose tries are used up stays among the published until it is settled: the process that was about to may die.
-- returns again | exhausted | lost | unknown
local job, chunk, reason = KEYS[1], ARGV[1], ARGV[4]
if redis.call('EXISTS', job) == 0 then return 'unknown' end
if redis.call('HGET', job .. ':holders', chunk) ~= ARGV[2] .. ' ' .. ARGV[3] then return 'lost' end
redis.call('HDEL', job .. ':holders', chunk)
redis.call('ZREM', job .. ':leases', chunk)
redis.call('HINCRBY', job, 'handed_back', 1)
redis.call('RPUSH', job .. ':reasons:' .. chunk, 'attempt ' .. ARGV[2] .. ' on ' .. ARGV[3] .. ': ' .. reason)
if ARGV[5] == '1' then
  redis.call('HINCRBY', job, 'retried', 1)
  if redis.call('HINCRBY', job .. ':tries', chunk, 1) >= tonumber(ARGV[6]) then
    local time = redis.call('TIME')
    redis.call('ZADD', job .. ':sent', time[1] * 1000 + math.floor(time[2] / 1000), chunk)
    return 'exhausted'
  end
end
redis.call('ZADD', job .. ':again', chunk, chunk)
return 'again'
