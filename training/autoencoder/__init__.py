"""Training autoencoders, for latent models: diffusers' AutoencoderKL or AutoencoderTiny.

command     `autoencoder CONFIG`
settings    its configuration
objective   the loss, and PSNR
loop        a run from its first step to its last, and what it writes
"""
