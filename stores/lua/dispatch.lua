-- dispatch: choose up to `count` chunks to publish: those to be repeated first, then the next never published.
-- KEYS job  ARGV count
-- returns the chunks
local job, count = KEYS[1], tonumber(ARGV[1])
local chosen = {}
if redis.call('EXISTS', job) == 0 then return chosen end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, chunk in ipairs(redis.call('ZRANGEBYSCORE', job .. ':later', '-inf', now)) do
  redis.call('ZREM', job .. ':later', chunk)
  redis.call('ZADD', job .. ':again', chunk, chunk)
end
local function open(chunk)
  return redis.call('GETBIT', job .. ':done', chunk) == 0
    and redis.call('GETBIT', job .. ':failed', chunk) == 0
    and redis.call('HEXISTS', job .. ':holders', chunk) == 0
end
while #chosen < count do
  local popped = redis.call('ZPOPMIN', job .. ':again')
  if #popped == 0 then break end
  if open(popped[1]) then chosen[#chosen + 1] = popped[1] end
end
local total, cursor = tonumber(redis.call('HGET', job, 'total')), tonumber(redis.call('HGET', job, 'cursor'))
while #chosen < count and cursor < total do
  if open(cursor) and not redis.call('ZSCORE', job .. ':sent', cursor) then chosen[#chosen + 1] = tostring(cursor) end
  cursor = cursor + 1
end
redis.call('HSET', job, 'cursor', cursor)
for _, chunk in ipairs(chosen) do redis.call('ZADD', job .. ':sent', now, chunk) end
return chosen
