-- These generations are in the step that a worker begins: should it die, it may be their doing.
-- args: worker ids seconds
redis.call('SET', key.batch(worker), ids, 'EX', seconds)
return 1
