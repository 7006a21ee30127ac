"""An evaluation's figures in words, for a terminal and for a page."""

from collections.abc import Iterator

from models.guidance import WHOLE
from models.manifest import Manifest
from training.judging.results import Evaluation


def table(manifest: Manifest, found: Evaluation) -> Iterator[str]:
    """The figures, as lines."""
    yield f"{manifest.version}: {heading(found)}"
    yield f"{'':<34}{'drawn':>10}{'real':>10}"
    for name, drawn, real, remark in figures(found):
        yield f"{name:<34}{drawn:>10}{real:>10}  {remark}".rstrip()


def heading(found: Evaluation) -> str:
    """What was drawn, how, and how fast."""
    drawn, settings = found.drawn, found.drawn.settings
    start, stop = settings.guidance_interval
    where = "" if (start, stop) == WHOLE else f" in {start:g} to {stop:g} of the run"
    return (
        f"{len(drawn.images)} pictures, {settings.sampler}, {settings.steps} steps, guidance "
        f"{settings.guidance_scale:g}{where}; {drawn.evaluations} evaluations a picture, "
        f"{drawn.images_per_second:.1f} pictures/s in {found.dtype} on {found.device}"
    )


def figures(found: Evaluation) -> Iterator[tuple[str, str, str, str]]:
    """What was measured, of drawn pictures, of real ones in their place, and a remark."""
    for key, one in found.features.items():
        (distance, coverage), (floor, ceiling) = one.drawn, one.real
        yield f"[{key}] {one.extractor}", "", "", ""
        ratio = f"{one.frechet_ratio:.2f} times its floor"
        if one.features >= len(found.drawn.images):
            ratio += f"; fewer pictures than its {one.features} features: compare only at this many"
        yield "Fréchet distance", f"{distance.frechet:.4g}", f"{floor.frechet:.4g}", ratio
        # Up to a thousand pictures every subset is the whole.
        spread = distance.kernel_deviation
        remark = f"± {spread:.2g} between subsets" if spread > 1e-6 * abs(distance.kernel) else ""
        yield "KID", f"{distance.kernel:.4g}", f"{floor.kernel:.4g}", remark
        for name in ("precision", "recall", "density", "coverage"):
            yield name, f"{getattr(coverage, name):.3f}", f"{getattr(ceiling, name):.3f}", ""
    if accuracy := found.accuracy:
        yield (
            "classification accuracy score",
            f"{accuracy.drawn:.1%}",
            f"{accuracy.real:.1%}",
            f"ratio {accuracy.ratio:.3f}",
        )
    if agreement := found.agreement:
        ratio = f"ratio {agreement.ratio:.3f}"
        yield "class agreement", f"{agreement.drawn:.1%}", f"{agreement.real:.1%}", ratio
        for name, share in agreement.per_class.items():
            yield f"  {name}", f"{share:.1%}", "", ""
    if copying := found.copying:
        yield (
            "nearest training picture, levels",
            f"{copying.drawn:.1f}",
            f"{copying.unseen:.1f}",
            "median root mean square difference",
        )
        yield "nearer than an unseen real one", f"{copying.nearer:.3f}", "0.500", ""
        yield "nearer than 99 % of them", f"{copying.copies:.1%}", "1.0%", ""
