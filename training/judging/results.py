"""What an evaluation found, and how a manifest keeps it. Measures nothing itself."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from training.judging.accuracy import Accuracy
from training.judging.agreement import Agreement, share_of
from training.judging.coverage import Coverage
from training.judging.distances import Distances
from training.judging.drawing import Drawn, settings_to_json
from training.judging.neighbours import Copying, Nearest

# Of `Evaluation.to_json`: what was measured; what differs from run to run. The rest are conditions.
MEASURED = ("features", "classification_accuracy", "nearest_training_pictures")
VARYING = ("images_per_second",)


@dataclass(frozen=True, kw_only=True)
class InFeatures:
    """What one extractor's features say of drawn pictures, and of real ones in their place."""

    extractor: str
    features: int
    drawn: tuple[Distances, Coverage]
    real: tuple[Distances, Coverage]

    @property
    def frechet_ratio(self) -> float:
        """The Fréchet distance in units of its floor."""
        return share_of(self.drawn[0].frechet, self.real[0].frechet)

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it: each figure of drawn pictures beside that of real ones."""
        drawn, real = ({**asdict(d), **asdict(c)} for d, c in (self.drawn, self.real))
        return {
            "extractor": self.extractor,
            "features": self.features,
            **{
                name: {"drawn": _rounded(drawn[name]), "real": _rounded(real[name])}
                for name in drawn
            },
            "frechet_ratio": _rounded(self.frechet_ratio),
        }


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All that was measured; None or empty where it was not asked for.

    Attributes:
        dtype: that the network drew in.
        unseen: how many real pictures there are that the model has not seen.
        nearest: of the drawn and of the unseen pictures, for whoever shows them.
    """

    drawn: Drawn
    dtype: str
    device: str
    unseen: int
    features: Mapping[str, InFeatures] = field(default_factory=dict)
    agreement: Agreement | None = None
    accuracy: Accuracy | None = None
    copying: Copying | None = None
    nearest: tuple[Nearest, Nearest] | None = None

    def to_json(self) -> dict[str, Any]:
        """As the manifest keeps it, but for class agreement, which has a place of its own."""
        return {
            "images": len(self.drawn.images),
            "unseen": self.unseen,
            **settings_to_json(self.drawn.settings),
            "evaluations_per_image": self.drawn.evaluations,
            "images_per_second": _rounded(self.drawn.images_per_second),
            "device": self.device,
            "dtype": self.dtype,
            "features": {key: found.to_json() for key, found in self.features.items()},
            "classification_accuracy": self.accuracy
            and {
                "drawn": _rounded(self.accuracy.drawn),
                "real": _rounded(self.accuracy.real),
                "ratio": _rounded(self.accuracy.ratio),
                "epochs": self.accuracy.epochs,
            },
            "nearest_training_pictures": self.copying
            and {name: _rounded(value) for name, value in asdict(self.copying).items()},
        }


def _rounded(value: float) -> float | None:
    """Four significant digits, more than figures are good for; None where there is none."""
    return None if math.isnan(value) else float(f"{value:.4g}")
