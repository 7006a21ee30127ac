"""Classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598): its formula and what it takes.

lambda is the guidance scale of m = m_uncond + lambda (m_cond - m_uncond); 1 is no guidance, 0 draws
without the class. "Conditional" means that a class is given. Guidance may be
confined to an interval of the run (Kynkäänniemi et al. 2024, arXiv:2404.07724).
Shapes: B rows of (C, H, W).
"""

from torch import Tensor

WHOLE = (0.0, 1.0)


def check_interval(where: str, interval: tuple[float, float]) -> None:
    """Raise ValueError unless it is a share [from, to) of a run."""
    if not 0 <= interval[0] <= interval[1] <= 1:
        raise ValueError(f"{where} {list(interval)} is no [from, to] with 0 <= from <= to <= 1")


def guides(step: int, steps: int, interval: tuple[float, float]) -> bool:
    """Whether step 0 ... steps - 1 of a run is in the share of it, [from, to), that is guided."""
    start, stop = interval
    return start * steps <= step < stop * steps


def needs_null_class(guidance_scale: float, *, conditional: bool = True) -> bool:
    """Whether drawing asks the network for its output without a class."""
    return not conditional or guidance_scale != 1


def evaluations(guidance_scale: float, *, conditional: bool) -> int:
    """How often a row's step evaluates the network, which is the places it takes in a batch.

    Two only where a class is set and lambda is neither 0 nor 1. (At 1 the formula differs in bits
    from the conditional output, and at 0 from the unconditional: neither is computed by it.)
    """
    return 2 if conditional and guidance_scale not in (0.0, 1.0) else 1


def run_evaluations(
    steps: int,
    guidance_scale: float,
    interval: tuple[float, float],
    *,
    conditional: bool,
    skipped: int = 0,
) -> int:
    """Network evaluations that a picture takes in all.

    Args:
        steps: of the whole run.
        skipped: the first of them, which are not made.
    """
    twice = evaluations(guidance_scale, conditional=conditional) == 2
    return sum(1 + (twice and guides(k, steps, interval)) for k in range(skipped, steps))


def guide(unconditional: Tensor, conditional: Tensor, scale: Tensor) -> Tensor:
    """The guided output, (B, C, H, W): u + lambda (c - u); ``scale`` is (B,)."""
    return unconditional + scale[:, None, None, None] * (conditional - unconditional)
