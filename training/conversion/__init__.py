"""diffusers' layout and ours, one into the other; diffusers itself is not needed.

`unet` and `scheduler` translate the two configurations, `folders` moves the files.
"""
