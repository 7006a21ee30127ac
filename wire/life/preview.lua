-- What one of its images will roughly be. Answers 0 if it is not this worker's.
-- args: id worker event
-- uses: emit mine
if not mine() then return 0 end
emit('preview', event)
return 1
