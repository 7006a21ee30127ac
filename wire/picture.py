"""What one picture is: all that its pixels and its PNG's bytes depend on, and nothing else.

No id, no time, nothing of the batch: so the same picture has the same bytes everywhere.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One image of a request, every choice made.

    Attributes:
        model: `name@step`.
        seed: its own.
        class_name: None draws without a class.
    """

    model: str
    seed: int
    class_name: str | None
    steps: int
    sampler: str
    guidance_scale: float
    eta: float
    scale: int

    @property
    def guided(self) -> bool:
        """Whether each step takes two evaluations, as `models.guidance` has it."""
        return self.class_name is not None and self.guidance_scale not in (0, 1)

    @property
    def evaluations(self) -> int:
        """Network evaluations that it takes."""
        return self.steps * (2 if self.guided else 1)

    def text(self) -> dict[str, str]:
        """The PNG's text chunks: a file found on a disk can be drawn again."""
        return {
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
