"""diffusers' layout and ours, one into the other; diffusers itself is not needed.

command     `convert FROM TO`
folders     which files go where
unet        the two descriptions of a network
scheduler   the two descriptions of a diffusion
weights     the tensors
options     JSON that another program wrote
"""
