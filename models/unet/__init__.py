"""The denoising U-Net: diffusers' topologies and parameter names, in plain torch.

A state dict of this network loads into ``diffusers.UNet2DModel``, or with text into
``diffusers.UNet2DConditionModel``, and back, name for name.
Knows nothing of schedules, samplers, training or files.

config      the network's shape
network     the network
blocks      residual blocks, attention, levels
transformer attention to picture and text
embedding   timesteps as vectors
"""

from models.unet.blocks import Attention
from models.unet.config import TextAttention, UNetConfig
from models.unet.embedding import timestep_embedding
from models.unet.network import UNet
from models.unet.transformer import TokenAttention

__all__ = [
    "Attention",
    "TextAttention",
    "TokenAttention",
    "UNet",
    "UNetConfig",
    "timestep_embedding",
]
