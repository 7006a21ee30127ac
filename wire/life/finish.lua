-- Its worker ends it. Answers 0 if it has ended already, or is not this worker's.
-- args: id worker status now failure done keep remember
-- uses: emit mine counts stored finish
if not mine('open') then
  if redis.call('EXISTS', key.generation(id)) == 0 then  -- deleted while it was drawn
    redis.call('ZADD', key.IMAGES_KEPT, 'XX', 0, id)
  end
  return 0
end
finish(status, now, failure, done, keep, remember)
return 1
