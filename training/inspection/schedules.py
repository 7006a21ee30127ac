"""All noise schedules side by side: signal left, signal-to-noise ratio, and where they cross."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from models.schedule import SCHEDULES, Floats, Schedule
from training.charts import panels, to_image

# Of a thousand; another number of timesteps shows the same shares of it.
_SHOWN = (0, 100, 250, 500, 750, 900, 999)
_PLOT_DB = (-60.0, 40.0)


@dataclass(frozen=True)
class Inspected:
    """One schedule's figures.

    Attributes:
        alpha_bar: (T,) share of the signal's variance left.
        snr_db: (T,) 10 log10(alpha_bar / (1 - alpha_bar)).
        crossing: first t with alpha_bar_t < 1/2, where noise outweighs signal; None if never.
    """

    name: str
    alpha_bar: Floats
    snr_db: Floats
    crossing: int | None


def inspect_schedules(timesteps: int) -> list[Inspected]:
    """Every schedule at T timesteps; ValueError for a length that has none."""
    found = []
    for name in SCHEDULES:
        schedule = Schedule(name, timesteps)
        below = np.flatnonzero(schedule.alpha_bar < 0.5)
        crossing = int(below[0]) if len(below) else None
        snr_db = snr_in_db(schedule)
        found.append(Inspected(name, schedule.alpha_bar, snr_db, crossing))
    return found


def snr_in_db(schedule: Schedule) -> Floats:
    """(T,) signal-to-noise ratio in decibels, exact near the data too."""
    return np.asarray(schedule.half_log_snr * (20 / math.log(10)), dtype=np.float64)


def shown_timesteps(timesteps: int) -> list[int]:
    """The timesteps that a table shows: 0, 100, 250 ... 999, scaled to T."""
    return sorted({t * timesteps // 1000 for t in _SHOWN})


def to_json(schedules: list[Inspected]) -> dict[str, Any]:
    """Plain data by schedule name."""
    return {
        one.name: {
            "rows": [
                {"t": t, "alpha_bar": float(one.alpha_bar[t]), "snr_db": float(one.snr_db[t])}
                for t in shown_timesteps(len(one.alpha_bar))
            ],
            "zero_db_crossing": one.crossing,
        }
        for one in schedules
    }


def to_table(schedules: list[Inspected]) -> str:
    """The figures for people: a row per timestep, two columns per schedule."""
    lines = [
        f"{'':>6}" + "".join(f"  {one.name:^20}" for one in schedules),
        f"{'t':>6}" + "".join(f"  {'alpha_bar':>11} {'SNR dB':>8}" for _ in schedules),
    ]
    for t in shown_timesteps(len(schedules[0].alpha_bar)):
        cells = [f"  {one.alpha_bar[t]:>11.5g} {one.snr_db[t]:>8.2f}" for one in schedules]
        lines.append(f"{t:>6}" + "".join(cells))
    crossings = [f"{'never' if one.crossing is None else one.crossing}" for one in schedules]
    lines.append(f"{'0 dB':>6}" + "".join(f"  {'at t =':>11} {at:>8}" for at in crossings))
    return "\n".join(line.rstrip() for line in lines)


def to_plot(schedules: list[Inspected]) -> Image.Image:
    """alpha_bar and SNR over t; a dot where noise first outweighs signal."""
    figure, (signal, ratio) = panels(2)
    timesteps = len(schedules[0].alpha_bar)
    for one in schedules:
        (line,) = signal.plot(one.alpha_bar, label=one.name)
        crossing = "never" if one.crossing is None else one.crossing
        ratio.plot(one.snr_db, label=f"{one.name} ({crossing})")
        if one.crossing is not None:
            signal.plot(one.crossing, one.alpha_bar[one.crossing], "o", color=line.get_color())
    signal.set(
        title=f"Signal left, T = {timesteps}; a dot where noise takes over",
        ylabel="alpha_bar",
        ylim=(0, 1.02),
    )
    ratio.set(
        title="Signal-to-noise ratio (and the first t below 0 dB)",
        ylabel="SNR in dB",
        ylim=_PLOT_DB,
    )
    for axes, guide in ((signal, 0.5), (ratio, 0)):
        axes.axhline(guide, color="black", linestyle="--", linewidth=0.8)
        axes.set(xlabel="timestep t", xlim=(0, timesteps))
        axes.legend(frameon=False)
    return to_image(figure)
