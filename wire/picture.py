"""What one picture is: all that its pixels and its PNG's bytes depend on, and nothing else.

No id, no time, nothing of the batch: so the same picture has the same bytes everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass

WHOLE = (0.0, 1.0)  # of a run


def last_steps(steps: int, strength: float) -> int:
    """Of a run's steps those that a run from a picture makes, the last ones: at least one.

    The nearest whole number, for 0.55 of 20 steps is 11, whatever floats make of it.
    """
    return max(1, round(strength * steps))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of a request, every choice made.

    Attributes:
        model: `name@step`.
        seed: its own.
        class_name, prompt: what it is of; None draws without.
        negative_class, negative_prompt: what guidance leads away from; None: from nothing in
            particular.
        guidance_interval: share of the whole run, [from, to), in which guidance applies.
        variation_seed, variation_strength: other noise, and the share of it in the first noise.
        init_image: digest of the pixels that it begins from, if any.
        strength: share of the steps that is drawn then.
        mask: digest of the mask, where some of the init picture is kept.
    """

    model: str
    seed: int
    class_name: str | None
    steps: int
    sampler: str
    guidance_scale: float
    guidance_interval: tuple[float, float]
    eta: float
    scale: int
    prompt: str | None = None
    negative_class: str | None = None
    negative_prompt: str | None = None
    variation_seed: int | None = None
    variation_strength: float = 0.0
    init_image: str | None = None
    strength: float = 1.0
    mask: str | None = None

    @property
    def guided(self) -> bool:
        """Whether a step may take two evaluations, as `models.guidance` has it."""
        of_something = self.class_name is not None or self.prompt is not None
        return of_something and self.guidance_scale not in (0, 1)

    @property
    def evaluations(self) -> int:
        """Network evaluations that it takes; a step in the guided share of the run takes two."""
        start, stop = (share * self.steps for share in self.guidance_interval)
        skipped = self.steps - last_steps(self.steps, self.strength)
        return sum(1 + (self.guided and start <= k < stop) for k in range(skipped, self.steps))

    def text(self) -> dict[str, str]:
        """The PNG's text chunks: a file found on a disk can be drawn again."""
        text = {
            "Software": "Emaki",
            "model": self.model,
            "seed": str(self.seed),
            "class": self.class_name or "",
            "steps": str(self.steps),
            "sampler": self.sampler,
            "guidance_scale": repr(float(self.guidance_scale)),
            "eta": repr(float(self.eta)),
            "scale": str(self.scale),
        }
        if self.prompt is not None:
            text["prompt"] = self.prompt
        if self.guided and self.negative_class is not None:
            text["negative_class"] = self.negative_class
        if self.guided and self.negative_prompt is not None:
            text["negative_prompt"] = self.negative_prompt
        if self.guided and self.guidance_interval != WHOLE:
            text["guidance_interval"] = "{!r}, {!r}".format(*self.guidance_interval)
        if self.variation_strength:
            text["variation_seed"] = str(self.variation_seed)
            text["variation_strength"] = repr(float(self.variation_strength))
        if self.init_image is not None and (self.strength < 1 or self.mask is not None):
            text["init_image"] = f"sha256:{self.init_image}"
            text["strength"] = repr(float(self.strength))
            if self.mask is not None:
                text["mask"] = f"sha256:{self.mask}"
        return text


def shared_text(pictures: Sequence[Picture], *, scale: int) -> dict[str, str]:
    """The same of several pictures in one file: where they differ, one value each, in order."""
    texts = [picture.text() for picture in pictures]
    shared = {}
    for key in dict.fromkeys(key for text in texts for key in text):
        values = [text.get(key, "") for text in texts]
        shared[key] = values[0] if len(set(values)) == 1 else ", ".join(values)
    return {**shared, "scale": str(scale)}
