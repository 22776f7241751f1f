-- close: drop an ended job's ledger, unless the job was announced again since its end was seen.
-- KEYS job jobs submitted openings  ARGV id announcements
-- returns 1 when it was closed
local job = KEYS[1]
if (redis.call('HGET', KEYS[4], ARGV[1]) or '0') ~= ARGV[2] then return 0 end
redis.call('SREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
for _, part in ipairs({'', ':leases', ':holders', ':attempts', ':tries', ':sent', ':again', ':later', ':spent', ':done', ':failed', ':recent', ':kills', ':copies'}) do
  redis.call('DEL', job .. part)
end
return 1
