"""What a network is given in place of pixels and labels: latents, and states of captions.

inputs      both, as a configuration asks for them; the network's shape that follows
latents     pictures through an autoencoder, once
texts       captions through a text encoder, once
compact     a text encoder made small for them
"""
