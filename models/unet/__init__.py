"""The denoising U-Net: diffusers' UNet2DModel topology and parameter names, in plain torch.

A state dict of this network loads into ``diffusers.UNet2DModel`` and back, name for name.
Knows nothing of schedules, samplers, training or files.

config      the network's shape
network     the network
blocks      residual blocks, attention, levels
embedding   timesteps as vectors
"""

from models.unet.blocks import Attention
from models.unet.config import UNetConfig
from models.unet.embedding import timestep_embedding
from models.unet.network import UNet

__all__ = ["Attention", "UNet", "UNetConfig", "timestep_embedding"]
