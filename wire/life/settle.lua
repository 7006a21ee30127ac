-- Where nothing is queued, popped or held, the counts of what is to be done are nothing, too.
-- args:
local busy = redis.call('LLEN', key.QUEUE_LIST) + redis.call('LLEN', key.POPPED)
if busy + redis.call('ZCARD', key.STARTED) == 0 then
  redis.call('DEL', key.QUEUED, key.UNFINISHED, key.BACKLOG, key.DRAWN, key.WAITS)
end
return 0
