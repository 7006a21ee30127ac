-- A client wants its upload kept no more. Answers 0: there is none.
-- args: id owner
-- uses: stored
if redis.call('DEL', key.upload(id)) == 0 then return 0 end
unstore(owner, id)
redis.call('ZADD', key.IMAGES_KEPT, 'XX', 0, id)
return 1
