"""The sections of a training run's configuration: frozen dataclasses that refuse what cannot be.

Where they are read from is `training.config`'s to know.
"""

from dataclasses import dataclass
from typing import Literal

from models.companions import PACKAGE
from models.guidance import WHOLE
from models.manifest import Defaults
from training.errors import TrainingError
from training.pictures.data import HOLD_OUT
from training.pictures.decode import Resize


@dataclass(frozen=True, kw_only=True)
class Data:
    """`[data]`: what the pictures are. Where they are is `--data`, `path` or `paths`.

    Attributes:
        size: (height, width) of what the network sees; pictures of another size are resized. A
            file may give one number for a square.
        paths: several data sets, each PATH or PATH=WEIGHT.
        label: the field of the data's metadata that names classes.
        resize: "crop" cuts out the middle, "squash" keeps all of it and changes the proportions.
        hold_out: share of the pictures that is kept out of training to judge by, where the data has
            no test split of its own; 0 trains on all.
    """

    size: tuple[int, int]
    channels: int
    path: str | None = None
    paths: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    label: str = "label"
    resize: Resize = "crop"
    flip: bool = False
    hold_out: float = HOLD_OUT

    def __post_init__(self) -> None:
        if self.channels not in (1, 3, 4):
            raise TrainingError(
                f"data.channels = {self.channels} is not 1 (grey), 3 (RGB) or 4 (RGBA)"
            )
        if not all(1 <= side <= 4096 for side in self.size):
            raise TrainingError(f"data.size = {list(self.size)} is not within 1 ... 4096 pixels")
        if not 0 <= self.hold_out <= 0.5:
            raise TrainingError(f"data.hold_out = {self.hold_out} is not in 0 ... 0.5")
        twice = [name for name in self.class_names if self.class_names.count(name) > 1]
        if twice:
            raise TrainingError(f"data.class_names has {twice[0]!r} twice; every class is another")


@dataclass(frozen=True, kw_only=True)
class Latents:
    """`[latent]`: the network learns an autoencoder's latents instead of pixels.

    Attributes:
        autoencoder: its folder, as diffusers or `python -m training autoencoder` writes it.
    """

    autoencoder: str


@dataclass(frozen=True, kw_only=True)
class Texts:
    """`[text]`: the network learns what captions say instead of classes.

    Attributes:
        encoder: a text encoder's folder, as transformers writes it; `package:NAME/PATH` is a
            folder in an installed Python package.
        tokenizer: its folder; None: the encoder's.
        tokens: captions are cut, or filled up, to so many.
        caption: how a caption is made of `metadata.jsonl`'s fields.
        group: captions that are held out together, made alike; None: the same caption's pictures.
        store: "copy" puts the encoder into each checkpoint, "reference" leaves it in its package,
            which must be installed where the model is served.
        compact: whether the encoder, a BERT, is made small first: only the captions' tokens, in
            eight bits. The network learns from what it says then.
        examples: captions for people to try; empty: some of the data's.
    """

    encoder: str
    tokenizer: str | None = None
    tokens: int = 24
    caption: str = "{text}"
    group: str | None = None
    store: Literal["copy", "reference"] = "copy"
    compact: bool = False
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 2 <= self.tokens <= 512:
            raise TrainingError(f"text.tokens = {self.tokens} is not in 2 ... 512")
        if self.store == "reference" and self.compact:
            raise TrainingError('text.compact makes a new encoder: set text.store = "copy"')
        if self.store == "reference" and not self.encoder.startswith(PACKAGE):
            raise TrainingError(
                f'text.store = "reference" needs an encoder in a package ({PACKAGE}NAME/PATH), '
                f"not {self.encoder!r}"
            )


@dataclass(frozen=True, kw_only=True)
class Train:
    """`[train]`: the optimisation. Rates are per optimizer step; steps are optimizer steps.

    Attributes:
        label_dropout: share of rows whose class is replaced by the null class, so that the
            network also learns the unconditional score; 0 trains no null class.
        batch_size: pictures per optimizer step, over all processes and micro-batches.
        accumulate: micro-batches a process splits its part of a batch into, to save memory.
        min_snr_gamma: the loss weights of arXiv:2303.09556 (5 is usual); 0 weighs all t alike.
        noise_density: "uniform" trains every timestep alike; "lognormal" draws the noise level
            s = sigma / alpha from ln s ~ N(noise_mean, noise_std^2).
        uncertainty: weigh each noise level by a learned guess of its error (arXiv:2312.02696).
        compile: run the network through torch.compile.
        bf16: multiply in bfloat16 (autocast) where the device computes in it; weights, EMA and
            optimizer stay float32.
        report_every: steps between denoising strips.
        save_every: steps between checkpoints.
        snapshot_every: steps between snapshots of two power-function averages, from which
            `average` makes an EMA of any length afterwards; 0: none.
    """

    steps: int
    batch_size: int = 128
    accumulate: int = 1
    learning_rate: float = 2e-4
    final_learning_rate: float = 0.0
    warmup_steps: int = 500
    weight_decay: float = 0.0
    beta2: float = 0.999
    clip_norm: float = 1.0
    ema_decay: float = 0.9999
    label_dropout: float = 0.1
    min_snr_gamma: float = 0.0
    noise_density: Literal["uniform", "lognormal"] = "uniform"
    noise_mean: float = -0.4
    noise_std: float = 1.0
    uncertainty: bool = False
    bf16: bool = True
    compile: bool = False
    seed: int = 0
    report_every: int = 500
    save_every: int = 1000
    snapshot_every: int = 0

    def __post_init__(self) -> None:
        limits: list[tuple[str, float, float]] = [
            ("steps", 1, 1e9),
            ("batch_size", 1, 65536),
            ("accumulate", 1, 65536),
            ("min_snr_gamma", 0, 1e6),
            ("learning_rate", 0, 1),
            ("final_learning_rate", 0, 1),
            ("warmup_steps", 0, 1e9),
            ("weight_decay", 0, 1),
            ("beta2", 0, 0.999999),
            ("clip_norm", 1e-6, 1e6),
            ("ema_decay", 0, 0.999999),
            ("label_dropout", 0, 1),
            ("noise_mean", -10, 10),
            ("noise_std", 1e-3, 10),
            ("seed", 0, 2**63 - 1),
            ("report_every", 1, 1e9),
            ("save_every", 1, 1e9),
            ("snapshot_every", 0, 1e9),
        ]
        for name, low, high in limits:
            value = getattr(self, name)
            if not low <= value <= high:
                raise TrainingError(f"train.{name} = {value} is not in {low:g} ... {high:g}")


@dataclass(frozen=True, kw_only=True)
class Publish:
    """`[publish]`: what the checkpoint offers, and how the weights are stored.

    Attributes:
        keep: newest checkpoints that are kept whole, besides the published one.
        keep_minutes: how much longer an older one's weights are kept: a request that was accepted
            while they were the newest may still wait.
        gate: whether LATEST moves only to a checkpoint whose class agreement, measured on
            ``gate_images`` drawn pictures, is not below the published one's.
        license: of the weights, in the Hub's words; the model's card says it.
    """

    sampler: str = "dpmpp_2m"
    steps: int = 20
    guidance_scale: float = 1.0
    guidance_interval: tuple[float, float] = WHOLE
    dtype: str = "fp32"
    keep: int = 3
    keep_minutes: float = 30.0
    gate: bool = False
    gate_images: int = 500
    license: str = "unknown"

    def __post_init__(self) -> None:
        if self.dtype not in ("bf16", "fp32"):
            raise TrainingError(f"publish.dtype = {self.dtype!r} is not bf16 or fp32")
        if self.keep < 1:
            raise TrainingError(f"publish.keep = {self.keep}: at least 1 checkpoint is kept")
        if not 0 <= self.keep_minutes <= 1e6:
            raise TrainingError(f"publish.keep_minutes = {self.keep_minutes} is not in 0 ... 1e6")
        if not 1 <= self.gate_images <= 1_000_000:
            raise TrainingError(f"publish.gate_images = {self.gate_images} is not in 1 ... 1000000")
        self.defaults()

    def defaults(self) -> Defaults:
        """The same, as the manifest has it."""
        try:
            return Defaults(
                sampler=self.sampler,  # type: ignore[arg-type]  # checked by Defaults itself
                steps=self.steps,
                guidance_scale=self.guidance_scale,
                guidance_interval=self.guidance_interval,
            )
        except ValueError as error:
            raise TrainingError(f"[publish] {error}") from error
