-- dispatch: choose up to `count` chunks to publish: those to be repeated first, then the next never published.
-- With a limit (0: none), the chunks of the job's submitter that are leased or published, in all its jobs, are at most so many.
-- KEYS job jobs  ARGV count limit
-- returns the chunks
local job, count, limit = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2])
local chosen = {}
if redis.call('EXISTS', job) == 0 then return chosen end
if limit > 0 then
  local submitter = redis.call('HGET', job, 'submitter') or ''
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local other = 'respool:{' .. id .. '}'
    if (redis.call('HGET', other, 'submitter') or '') == submitter then
      limit = limit - redis.call('ZCARD', other .. ':leases') - redis.call('ZCARD', other .. ':sent')
    end
  end
  count = math.min(count, limit)
end
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
