"""One training run, from the command line to its checkpoints.

job         `train [CONFIG]`: what a run is made of
plan        a configuration for pictures that come without one
glance      a look at a few of them
material    a run's pictures, and those it is judged by
loop        from the first step to the last
learner     network, optimizer and EMA, one step at a time
lesson      what is learned, from where, and what the network can do then
lineage     the model it begins from, and pictures that were added
growth      weights and class tables from another network
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
reporter    strips, held-out loss, and the page, now and then
heldout     the loss on pictures that are not trained on
page        `report.html`
strips      the pictures in it
compare     two runs side by side
scalars     what metrics.jsonl, TensorBoard and the services are given
tracking    Weights & Biases, MLflow
"""
