"""A DDPM or DDIM scheduler's configuration and our `Diffusion`, one into the other.

What only steers diffusers' sampling (timestep_spacing, steps_offset, set_alpha_to_one) is read and
not kept: our samplers are tables of their own. Knows nothing of files or networks.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.manifest import Diffusion
from models.prediction import Prediction
from models.sampler import Variance
from models.schedule import MAX_BETA, RANGED, SCHEDULES, Schedule, rescaled_range
from training.conversion.options import read_options, unsupported
from training.errors import TrainingError

SCHEDULERS = ("DDPMScheduler", "DDIMScheduler")
_PREDICTIONS: dict[str, Prediction] = {"epsilon": "eps", "v_prediction": "v", "sample": "x0"}
# fixed_small_log samples as fixed_small does; the logarithm is for learned variances.
_VARIANCES: dict[str, Variance] = {
    "fixed_small": "fixedsmall",
    "fixed_large": "fixedlarge",
    "fixed_small_log": "fixedsmall",
}
_COSINE = "squaredcos_cap_v2"
# Stable Diffusion folders name any of these; their other options steer sampling.
LATENT_SCHEDULERS = (
    *SCHEDULERS,
    *("PNDMScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler", "DEISMultistepScheduler"),
    *("EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler"),
    *("KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
)
_PROCESS = (
    *("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas"),
    *("prediction_type", "rescale_betas_zero_snr"),
)


@dataclass(frozen=True, kw_only=True)
class SchedulerOptions:
    """DDPMScheduler's and DDIMScheduler's options with their defaults (diffusers 0.42)."""

    num_train_timesteps: int = 1000
    beta_start: float = 1e-4
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    trained_betas: Any = None
    variance_type: str = "fixed_small"
    clip_sample: bool = True
    prediction_type: str = "epsilon"
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    clip_sample_range: float = 1.0
    sample_max_value: float = 1.0
    timestep_spacing: str = "leading"
    steps_offset: int = 0
    rescale_betas_zero_snr: bool = False
    set_alpha_to_one: bool = True
    tensor_format: str | None = None  # of the oldest versions, without effect today


_SUPPORTED: dict[str, tuple[Any, ...]] = {
    "beta_schedule": (*RANGED, _COSINE),
    "variance_type": tuple(_VARIANCES),
    "prediction_type": tuple(_PREDICTIONS),
    "thresholding": (False,),
    "rescale_betas_zero_snr": (False,),
}


def to_diffusion(where: str, data: Mapping[str, Any]) -> Diffusion:
    """The forward process that a ``scheduler_config.json`` describes.

    Args:
        where: the file, as messages call it.

    Raises:
        TrainingError: a scheduler or an option we do not support, by its name and value.
    """
    kind = data.get("_class_name", SCHEDULERS[0])
    if kind not in SCHEDULERS:
        raise unsupported(where, "_class_name", kind, SCHEDULERS)
    if data.get("trained_betas") is not None:  # they overrule beta_schedule, whatever it says
        data = {**data, "beta_schedule": "linear"}
    options = read_options(where, SchedulerOptions, data, _SUPPORTED)
    if options.clip_sample and options.clip_sample_range != 1:
        raise unsupported(where, "clip_sample_range", options.clip_sample_range, (1.0,))
    try:
        name, beta_range = _schedule(where, options)
        return Diffusion(
            schedule=name,
            timesteps=options.num_train_timesteps,
            prediction=_PREDICTIONS[options.prediction_type],
            clip=options.clip_sample,
            variance=_VARIANCES[options.variance_type],
            beta_range=beta_range,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise TrainingError(f"{where}: {error}") from error


def to_latent_diffusion(where: str, data: Mapping[str, Any]) -> Diffusion:
    """The same for latents, from any of diffusers' schedulers: only the forward process is read.

    Raises:
        TrainingError: as `to_diffusion`.
    """
    kind = data.get("_class_name", SCHEDULERS[0])
    if kind not in LATENT_SCHEDULERS:
        raise unsupported(where, "_class_name", kind, LATENT_SCHEDULERS)
    process = {name: data[name] for name in _PROCESS if name in data}
    return to_diffusion(where, {**process, "clip_sample": False})


def from_diffusion(diffusion: Diffusion) -> dict[str, Any]:
    """A DDPMScheduler's ``scheduler_config.json`` with the same betas, rounded as diffusers does.

    diffusers has no exponential or sigmoid schedule (its "sigmoid" is another one): these, and a
    rescaled linear one so short that its last betas are capped, become ``trained_betas``.
    """
    schedule = diffusion.build_schedule()
    first, last = schedule.beta_range or rescaled_range(schedule.timesteps)
    words: dict[str, Any]
    if schedule.name == "cosine":
        words = {"beta_schedule": _COSINE}
    elif schedule.name in RANGED and last <= MAX_BETA:
        words = {"beta_schedule": schedule.name, "beta_start": first, "beta_end": last}
    else:
        words = {"trained_betas": schedule.betas.tolist()}
    options = SchedulerOptions(
        num_train_timesteps=diffusion.timesteps,
        variance_type=_reverse(_VARIANCES)[diffusion.variance],
        clip_sample=diffusion.clip,
        prediction_type=_reverse(_PREDICTIONS)[diffusion.prediction],
        timestep_spacing="trailing",  # ours; "leading" never starts at the noisiest timestep
        **words,
    )
    data = dataclasses.asdict(options)
    del data["tensor_format"], data["set_alpha_to_one"]  # not DDPM's
    return {"_class_name": SCHEDULERS[0], **data}


def from_latent_diffusion(diffusion: Diffusion) -> dict[str, Any]:
    """The same for latents: a DDIMScheduler's, as Stable Diffusion's pipeline likes it."""
    data = from_diffusion(diffusion)
    del data["variance_type"]
    # The pipeline wants an offset of 1, which "trailing" timesteps do not heed.
    return {**data, "_class_name": SCHEDULERS[1], "set_alpha_to_one": True, "steps_offset": 1}


def _schedule(where: str, options: SchedulerOptions) -> tuple[str, tuple[float, float] | None]:
    """Our name and beta range for the betas that the options describe."""
    timesteps = options.num_train_timesteps
    if options.trained_betas is not None:
        return _recognise(where, options.trained_betas, timesteps), None
    if options.beta_schedule == _COSINE:
        return "cosine", None
    beta_range = (float(options.beta_start), float(options.beta_end))
    if options.beta_schedule == "linear" and all(
        math.isclose(ours, theirs, rel_tol=1e-6)
        for ours, theirs in zip(rescaled_range(timesteps), beta_range, strict=True)
    ):
        return "linear", None
    return options.beta_schedule, beta_range


def _recognise(where: str, betas: object, timesteps: int) -> str:
    for name in SCHEDULES:
        ours = Schedule(name, timesteps).betas
        try:
            theirs = np.asarray(betas, dtype=np.float64)
        except (TypeError, ValueError):
            break
        if theirs.shape == ours.shape and np.allclose(ours, theirs, rtol=1e-6, atol=0):
            return name
    wanted = f"null, or the {timesteps} betas of Emaki's {', '.join(SCHEDULES)}"
    raise unsupported(where, "trained_betas", betas, (wanted,))


def _reverse(words: Mapping[str, str]) -> dict[str, str]:
    """Ours to theirs; the first of several names for one thing."""
    return {ours: theirs for theirs, ours in reversed(list(words.items()))}
