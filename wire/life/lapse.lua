-- It has waited too long, or for a model that nobody has: it fails, unless a worker has it in hand.
-- One that a worker gave back, or died with, is "running" still, and waits like any other.
-- Answers whether it has failed now.
-- args: id now failure done keep remember
-- uses: emit counts stored notify finish dequeue
local status = redis.call('HGET', key.generation(id), 'status')
if (status == 'queued' or status == 'running') and dequeue() then
  finish('failed', now, failure, done, keep, remember)
  return 1
end
redis.call('ZREM', key.WAITS, id)
return 0
