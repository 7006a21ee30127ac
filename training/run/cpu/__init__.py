"""What makes a training step fast on a CPU; the results stay the same.

attention   two plain products in bfloat16
memory      freed memory waits for the next step

That each core has rows of its own is `models.cores`, which the worker's engine uses, too.
"""
