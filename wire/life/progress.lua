-- So far it is. Answers 0 if it has ended, or is not this worker's.
-- args: id worker row_steps evaluated eta event
-- uses: emit mine counts
if not mine() then return 0 end
redis.call('HSET', key.generation(id), 'row_steps', row_steps, 'eta', eta)
made(tonumber(evaluated))
emit('progress', event)
return 1
