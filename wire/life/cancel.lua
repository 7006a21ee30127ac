-- A client wants it stopped: at once while it waits, else its worker is asked to.
-- Answers -1: it has ended already; 1: it is canceled, now or by a call whose answer was lost;
-- 0: its worker is asked.
-- args: id now done keep remember
-- uses: emit counts stored notify finish dequeue
local status = redis.call('HGET', key.generation(id), 'status')
if status == 'canceled' then return 1 end
if status ~= 'queued' and status ~= 'running' then return -1 end
if not dequeue() then
  redis.call('SADD', key.CANCELS, id)
  return 0
end
finish('canceled', now, '', done, keep, remember)
return 1
