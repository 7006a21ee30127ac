"""diffusers' layout and ours, one into the other.

diffusers itself is needed only where there is an autoencoder.

command     `convert FROM TO`
folders     which files go where
unet        the two descriptions of a network
text_unet   the same of a network with text
stable      the autoencoder and text encoder of StableDiffusionPipeline
scheduler   the two descriptions of a diffusion
weights     the tensors
options     JSON that another program wrote
"""
