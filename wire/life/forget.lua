-- Forget the job of a generation that has ended, queued again or not.
-- args: id
local status = redis.call('HGET', key.generation(id), 'status')
if status == 'queued' or status == 'running' then return 0 end
redis.call('LREM', key.QUEUE_LIST, 0, id)
redis.call('DEL', key.job(id))
return 1
