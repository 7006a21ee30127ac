-- Its worker has let go of it: what it held is no started job any more, and of a generation that
-- has ended, whoever ended it, no job is left, queued again or not.
-- args: id entry
redis.call('ZREM', key.STARTED, entry)
local status = redis.call('HGET', key.generation(id), 'status')
if status == 'queued' or status == 'running' then return 0 end
if not status then redis.call('ZADD', key.IMAGES_KEPT, 'XX', 0, id) end  -- deleted meanwhile
if redis.call('DEL', key.job(id)) == 0 then return 0 end  -- `finish` was here
redis.call('LREM', key.QUEUE_LIST, 0, id)
return 1
