"""The JSON that clients, app and worker exchange, as pydantic models.

`GenerationRequest` is what a client may send; `ResolvedRequest` is the same with every choice
made, which is what the worker draws and what the answer reports.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from wire.picture import WHOLE, Picture, last_steps
from wire.webhook import Webhook, WebhookView

MAX_SEED = 2**63 - 1
MAX_BATCH = 64
MODEL_PATTERN = r"^[a-z0-9][a-z0-9._-]{0,63}(@[0-9]{1,12})?$"
DEFAULT_MODEL = "fashion-mnist"  # of requests that name none

Sampler = Literal["ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde", "learned", "consistency"]
SOLVERS: tuple[Sampler, ...] = ("ddpm", "ddim", "dpmpp_2m", "dpmpp_2m_sde")  # for any model
Priority = Literal["high", "normal", "low"]
Conditioning = Literal["class", "text", "none"]
Prompt = Annotated[str, Field(max_length=1000)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Source = Annotated[str, Field(min_length=1, max_length=2**20)]
Interval = Annotated[list[Share], Field(min_length=2, max_length=2)]
ClassRef = Annotated[str, Field(max_length=200)] | int | None


class Status(StrEnum):
    """A generation's life: queued, running, then one of the three ends."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def finished(self) -> bool:
        """Whether nothing more will happen."""
        return self not in (Status.QUEUED, Status.RUNNING)


class GenerationRequest(BaseModel):
    """What to draw. Every field is optional: `{}` draws one image with the default model."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"class": "Sneaker", "seed": 1}]},
    )

    model: str | None = Field(
        None, pattern=MODEL_PATTERN, description="`name` or `name@step`; default: the server's."
    )
    seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Image i of the batch uses seed + i, which must stay in range. "
        "Default: chosen below 2^53 and reported.",
    )
    steps: int | None = Field(
        None, ge=1, description="Network evaluations per image, 1 to the model's T."
    )
    batch: int = Field(1, ge=1, le=MAX_BATCH, description="Images wanted.")
    class_: ClassRef | list[ClassRef] = Field(
        None,
        alias="class",
        description="A class by name (without case) or index; null draws without a class; "
        "a list gives one per image.",
    )
    prompt: Prompt | list[Prompt | None] | None = Field(
        None,
        description="What to draw, in words, where the card's `conditioning` is text; a list gives "
        "one per image.",
    )
    negative_prompt: Prompt | None = Field(
        None, description="What guidance leads away from, in words."
    )
    negative_class: ClassRef = Field(
        None, description="What guidance leads away from, as `class`; null: from no class."
    )
    guidance_scale: float | None = Field(
        None,
        ge=0,
        le=20,
        allow_inf_nan=False,
        description="Classifier-free guidance: 1 is none, 0 ignores the class.",
    )
    guidance_interval: Interval | None = Field(
        None,
        description="[from, to]: the share of the run in which guidance applies. A step outside it "
        "costs half. Default: the model's.",
    )
    sampler: Sampler | None = Field(
        None, description="Default: the model's. One of its card's `samplers`."
    )
    eta: float | None = Field(
        None, ge=0, le=1, allow_inf_nan=False, description="`ddim` only; default 0."
    )
    init_image: Source | None = Field(
        None,
        description="Begin from this picture: PNG, JPEG or WebP as a `data:` URI, or the address "
        "of one of your own pictures or uploads here.",
    )
    strength: Share | None = Field(
        None,
        description="With `init_image`: the last share of the steps is drawn, at least one step; "
        "0 is the picture itself. Default: 0.6; with a `mask` 1.",
    )
    mask: Source | None = Field(
        None,
        description="A picture of the init picture's size: white is drawn anew, black is kept.",
    )
    variation_seed: int | None = Field(
        None,
        ge=0,
        le=MAX_SEED,
        description="Mix this seed's first noise in; image i mixes seed + i with "
        "variation_seed + i. Default with a `variation_strength`: chosen and reported.",
    )
    variation_strength: Share | None = Field(
        None, description="How much of it: 0 is `seed`, 1 is `variation_seed`."
    )
    scale: int = Field(
        1, ge=1, le=16, description="Whole-number enlargement of the PNGs, without smoothing."
    )
    preview_every: int = Field(
        0,
        ge=0,
        le=10_000,
        description="Steps between previews; 0: none. At most 256 previews a generation: "
        "closer ones are thinned out.",
    )
    strip: int = Field(
        0,
        ge=0,
        le=16,
        description="Frames of the denoising strip; 0: none. At most steps + 1 are there to show.",
    )
    priority: Priority = Field(
        "normal",
        description="Among your own requests: `high` as if it came ten minutes sooner, `low` ten "
        "minutes later, and four times the steps of a normal one, or a quarter.",
    )
    webhook: Webhook | None = Field(None, description="Who is told, by a signed POST.")


class ResolvedRequest(BaseModel):
    """A request with every choice made; `classes` has one entry per image."""

    model: str = Field(description="`name@step`.")
    seed: int
    steps: int
    batch: int
    classes: list[int | None] = Field(description="Class index per image, or null.")
    class_names: list[str | None] = Field(description="The same as names.")
    prompts: list[str | None] = Field([], description="One per image; empty: no model of words.")
    negative_class: str | None = None
    negative_prompt: str | None = None
    guidance_scale: float
    guidance_interval: Interval = list(WHOLE)
    sampler: Sampler
    eta: float
    init_image: str | None = Field(None, description="Digest of its pixels.")
    strength: float = 1.0
    mask: str | None = Field(None, description="Digest of its pixels.")
    variation_seed: int | None = None
    variation_strength: float = 0.0
    scale: int
    preview_every: int = 0
    strip: int = 0
    priority: Priority = "normal"
    webhook: WebhookView | None = None

    @property
    def drawn_steps(self) -> int:
        """Steps that are made of each image: from a picture, only the last of them."""
        return last_steps(self.steps, self.strength)

    @property
    def pictures(self) -> list[Picture]:
        """What each image of the batch is."""
        return [self.picture(index) for index in range(self.batch)]

    def picture(self, index: int) -> Picture:
        """What image ``index`` is: seed + index, and its own class."""
        return Picture(
            model=self.model,
            seed=self.seed + index,
            class_name=self.class_names[index],
            prompt=self.prompts[index] if self.prompts else None,
            negative_class=self.negative_class,
            negative_prompt=self.negative_prompt,
            steps=self.steps,
            sampler=self.sampler,
            guidance_scale=self.guidance_scale,
            guidance_interval=(self.guidance_interval[0], self.guidance_interval[1]),
            eta=self.eta,
            variation_seed=None if self.variation_seed is None else self.variation_seed + index,
            variation_strength=self.variation_strength,
            init_image=self.init_image,
            strength=self.strength,
            mask=self.mask,
            scale=self.scale,
        )

    @property
    def evaluations(self) -> int:
        """Network evaluations of all images together."""
        return sum(picture.evaluations for picture in self.pictures)


class RequestView(BaseModel):
    """The resolved request as the API reports it: send it back to draw the same again."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    model: str
    seed: int
    steps: int
    batch: int
    class_: str | list[str | None] | None = Field(alias="class")
    prompt: str | list[str | None] | None = None
    negative_class: str | None = None
    negative_prompt: str | None = None
    guidance_scale: float
    guidance_interval: Interval = list(WHOLE)
    sampler: Sampler
    eta: float
    init_image: str | None = Field(None, description="Where it is, at the model's size.")
    strength: float | None = None
    mask: str | None = Field(None, description="Where it is, at the model's size.")
    variation_seed: int | None = None
    variation_strength: float | None = None
    scale: int
    preview_every: int
    strip: int
    priority: Priority = "normal"
    webhook: WebhookView | None = None

    @classmethod
    def of(cls, request: ResolvedRequest, *, id_: str) -> "RequestView":
        """The client's view: one class where all images share it, else one per image."""
        fields = request.model_dump(exclude={"classes", "class_names", "prompts"})
        for name, file in (("init_image", "init"), ("mask", "mask")):
            fields[name] = fields[name] and f"/v1/generations/{id_}/{file}.png"
        if request.init_image is None:
            fields["strength"] = None
        if request.variation_seed is None:
            fields["variation_strength"] = None
        return cls(class_=_shared(request.class_names), prompt=_shared(request.prompts), **fields)


def _shared(each: list[str | None]) -> str | list[str | None] | None:
    """The one of all images, or a list of each."""
    if len(set(each)) <= 1:
        return each[0] if each else None
    return each


class Progress(BaseModel):
    """How far a generation is."""

    step: int = Field(description="Steps done, averaged over the images.")
    steps: int
    fraction: float = Field(ge=0, le=1)
    images_done: int
    queue_position: int | None = Field(description="1 is next; null once it runs.")
    eta_seconds: float | None = Field(description="Estimate until it is finished.")


class ImageEntry(BaseModel):
    """A finished image."""

    model_config = ConfigDict(serialize_by_alias=True, validate_by_name=True)

    index: int
    seed: int
    class_: str | None = Field(alias="class")
    url: str
    sha256: str
    width: int
    height: int


class Preview(BaseModel):
    """What an image will roughly be."""

    index: int
    step: int = Field(description="Steps made so far.")
    png_base64: str


class Urls(BaseModel):
    """Where the generation's parts are."""

    self: str
    events: str
    cancel: str
    grid: str
    images_zip: str
    strip: str | None


class Timings(BaseModel):
    """Measured by the server."""

    queued_ms: float | None
    run_ms: float | None


class ErrorInfo(BaseModel):
    """Why a generation failed."""

    code: str
    detail: str


class Generation(BaseModel):
    """A generation as the API reports it."""

    id: str
    status: Status
    model: str
    request: RequestView
    progress: Progress
    images: list[ImageEntry]
    urls: Urls
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    timings: Timings
    error: ErrorInfo | None
    warnings: list[str] = Field([], description="What is drawn, but not quite as asked, and why.")


class CardDefaults(BaseModel):
    """What a request gets when it does not ask."""

    sampler: Sampler
    steps: int
    guidance_scale: float
    guidance_interval: Interval = list(WHOLE)


class LearnedOffer(BaseModel):
    """A request that the sampler `learned` has a table for."""

    steps: int
    guidance_scale: float
    guidance_interval: Interval = Field(list(WHOLE), description="What it was learned for.")


class ModelCard(BaseModel):
    """A model as a worker offers it; `id`, `object`, `created`, `owned_by` as OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time of the served version.")
    owned_by: str = "emaki"
    version: str = Field(description="The served version, `name@step`.")
    versions: list[str] = Field(description="All that can be asked for.")
    conditioning: Conditioning = Field("class", description="What a picture is asked for by.")
    prompt_tokens: int | None = Field(
        None, description="How long a prompt may be; what is longer is cut. A word is one or more."
    )
    prompt_examples: list[str] = Field([], description="Words that the model knows.")
    classes: list[str]
    null_class: bool = Field(description="Whether it can draw without a class, and be guided.")
    height: int
    width: int
    channels: int
    timesteps: int = Field(description="T, the most steps a request may ask for.")
    defaults: CardDefaults
    samplers: list[Sampler] = Field(list(SOLVERS), description="What it can be drawn with.")
    learned: list[LearnedOffer] = Field([], description="What the sampler `learned` takes.")
    consistency_steps: int = Field(
        0, description="The most steps that the sampler `consistency` takes; 0: none."
    )
    baked_guidance: float | None = Field(
        None, description="Guidance that the weights hold: then a request's is 1 and no other."
    )
    quality: dict[str, Any] = Field(description="Measured figures, each with its conditions.")


class ModelList(BaseModel):
    """All models, by name."""

    object: Literal["list"] = "list"
    data: list[ModelCard]


class GenerationList(BaseModel):
    """A page of generations, newest first."""

    data: list[Generation]
    next_cursor: str | None = Field(description="Send it as `cursor` for the next page.")


class WorkerState(BaseModel):
    """What a live worker says of itself, every few seconds."""

    served: list[str] = Field(description="Each model's LATEST, `name@step`.")
    versions: list[str] = Field(description="All that it can draw, `name@step`.")
    pace: float = Field(description="Network evaluations a second, as measured; 0: not yet.")
    full_step_seconds: float = Field(0.0, description="What a step takes when there is much to do.")
    lone_step_seconds: float = Field(0.0, description="The same for a request alone; 0: not yet.")

    @property
    def models(self) -> set[str]:
        """Names of the models that it can draw."""
        return {version.partition("@")[0] for version in self.served}


class FieldError(BaseModel):
    """One field that was refused."""

    field: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details; every error has this body."""

    type: str = "about:blank"
    title: str
    status: int
    code: str = Field(description="Stable; safe to match on.")
    detail: str = Field(description="The value, the limit and the next action, for a person.")
    errors: list[FieldError] = Field(default_factory=list)
