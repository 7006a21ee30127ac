-- Files outside Redis whose time in IMAGES_KEPT lies within these bounds get another; '': none, they
-- are removed. Answers 0 if they are to be kept now, and 1.
-- args: id lowest highest later
local due = tonumber(redis.call('ZSCORE', key.IMAGES_KEPT, id) or '')
if not due or due < tonumber(lowest) or due > tonumber(highest) then return 0 end
if later == '' then
  redis.call('ZREM', key.IMAGES_KEPT, id)
else
  redis.call('ZADD', key.IMAGES_KEPT, later, id)
end
return 1
