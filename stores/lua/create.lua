-- create: make the ledger of a job from what S3 holds; does nothing when the ledger of this plan and opening exists already.
-- KEYS job jobs  ARGV id priority total frames frames_done done failed paused cancelled done_bits failed_bits
--                     opening retired changes plan submitter
-- returns 1 when it was made
local job = KEYS[1]
local opening, plan = unpack(redis.call('HMGET', job, 'opening', 'plan'))
if redis.call('EXISTS', job) == 1 and (opening or '0') == ARGV[12] and (plan or ARGV[15]) == ARGV[15] then return 0 end
redis.call('DEL', job)
for _, part in ipairs({':leases', ':holders', ':attempts', ':tries', ':sent', ':again', ':later', ':spent'}) do
  redis.call('DEL', job .. part)
end
redis.call('SET', job .. ':done', ARGV[10])
redis.call('SET', job .. ':failed', ARGV[11])
redis.call('HSET', job, 'total', ARGV[3], 'frames', ARGV[4], 'frames_done', ARGV[5], 'done', ARGV[6], 'failed', ARGV[7],
  'paused', ARGV[8], 'cancelled', ARGV[9], 'cursor', 0, 'retried', 0, 'handed_back', 0, 'opening', ARGV[12],
  'retired', ARGV[13], 'changes', ARGV[14], 'plan', ARGV[15], 'submitter', ARGV[16])
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return 1
