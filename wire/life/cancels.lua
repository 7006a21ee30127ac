-- Answers the ids of what clients want stopped and workers have in hand.
-- args:
return redis.call('SMEMBERS', key.CANCELS)
