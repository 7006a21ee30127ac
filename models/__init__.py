"""Pure torch library: U-Net, schedules, sampler tables, noise, EMA and the checkpoint format.

from models import load_model

model = load_model("checkpoints/fashion-mnist")
model.network(x_t, t, labels)
model.manifest
"""

from models.checkpoint import Model, load_model
from models.manifest import CheckpointError, Manifest

__all__ = ["CheckpointError", "Manifest", "Model", "load_model"]
