-- ask: record the user's request for a job, unless the ledger has a later one.
-- KEYS job  ARGV paused cancelled changes
-- returns 1 when it was noted
local job = KEYS[1]
if redis.call('EXISTS', job) == 0 then return 0 end
if tonumber(redis.call('HGET', job, 'changes') or '0') > tonumber(ARGV[3]) then return 0 end
redis.call('HSET', job, 'paused', ARGV[1], 'cancelled', ARGV[2], 'changes', ARGV[3])
return 1
