-- RQ has popped it for a worker, which takes it in hand; see there for the answer.
-- args: id worker rq_worker execution abandoned_at moment
-- uses: in_hand
redis.call('LREM', key.POPPED, 1, id)
return in_hand(id)
