"""What makes a training step fast on a CPU; the results stay the same.

cores       a thread per core, each with rows of its own
attention   two plain products in bfloat16
memory      freed memory waits for the next step
"""
