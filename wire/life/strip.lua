-- Its denoising strip is drawn. Answers 0 if it is not this worker's.
-- args: id worker png
-- uses: mine
if not mine() then return 0 end
if png ~= '' and redis.call('HSET', key.images(id), key.STRIP, png) == 1 then
  redis.call('HINCRBY', key.generation(id), 'bytes', #png)
end
return 1
