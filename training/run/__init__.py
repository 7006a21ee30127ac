"""One training run, from the command line to its checkpoints.

job         `train CONFIG`: what a run is made of
loop        from the first step to the last
learner     network, optimizer and EMA, one step at a time
lesson      what is learned, from where, and what the network can do then
objective   the loss
levels      which noise levels are trained at
uncertainty how large an error is to be expected there
averages    averages whose length is chosen afterwards
posthoc     and the command that does
loader      batches, ahead of time
dropout     masks that belong to the picture
team        several processes as one
attention   two plain products in bfloat16, on a CPU
stopping    signals, and losses that are no numbers
saving      checkpoints, and which is published
state       what resuming needs
progress    what a person sees
scalars     what TensorBoard sees
"""
