-- Its first step is made: queued becomes running, once. Answers 0 if it is not this worker's.
-- args: id worker now status warnings
-- uses: emit mine counts notify
if not mine('open') then return 0 end
if redis.call('HGET', key.generation(id), 'status') == 'queued' then
  leave_queue()
  redis.call('HSET', key.generation(id), 'status', 'running', 'started', now, 'warnings', warnings)
  emit('status', status)
  notify('started', 'started', status, now)
end
return 1
