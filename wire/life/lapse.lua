-- It has waited too long, or for a model that nobody has: it fails, unless a worker has it in hand.
-- Answers whether it has failed now.
-- args: id now failure done keep remember
-- uses: emit counts stored notify finish dequeue
if redis.call('HGET', key.generation(id), 'status') == 'queued' and dequeue() then
  finish('failed', now, failure, done, keep, remember)
  return 1
end
redis.call('ZREM', key.WAITS, id)
return 0
