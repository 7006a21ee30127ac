"""What one GPU does: the engine's graphs against its plain steps, at growing batches.

    make gpu-bench                      (under nine minutes)
    python -m benchmarks.gpu [--presets fashion-mnist cifar10-32 cars-64] [--sizes 1 16 64 256 1024]

For each preset's network, with random weights: that a picture has the same bits whoever shares the
step; then, at each size of chunk, milliseconds a step and pictures a second (20 steps, unguided) of
captured graphs, and of plain steps, which restack their rows and launch every kernel by itself, as
a loop over diffusers' pipelines does; the graphs' share of what this device reaches in a bf16
matrix product and a convolution, measured here; and where the time of one step goes.

Needs only what `models`, `training`'s presets and the engine need. Without CUDA the same code runs
on the CPU with plain calls in place of graphs (`--tiny`), which is how it is tested.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import describe, pick_device, settle
from models.cores import Cores
from models.sampler import SAMPLERS
from models.unet import UNet, UNetConfig
from training.config import load_config
from worker.engine.engine import Engine
from worker.engine.precision import Plan
from worker.engine.probe import probe
from worker.engine.weights import Condition, Weights
from worker.engine.work import ImageDone, Work

PRESETS = ("fashion-mnist", "cifar10-32", "cars-64")
CLASSES = {"fashion-mnist": 10, "cifar10-32": 10, "cars-64": 196}
STEPS = 20
_CONFIGS = Path(__file__).parents[1] / "configs"


def network_of(preset: str, *, tiny: bool) -> UNetConfig:
    """The preset's network; a small relative of it where only the code is tried."""
    config = load_config(_CONFIGS / f"{preset}.toml")
    if tiny:
        side = 2 ** len(config.network.multipliers)
        return UNetConfig(
            channels=config.data.channels,
            size=(side, side),
            block_channels=(8,) * len(config.network.multipliers),
            blocks_per_level=1,
            attention_levels=(False,) * len(config.network.multipliers),
            norm_groups=4,
            num_class_embeds=4,
            null_class=3,
        )
    return config.network.build(config.data, CLASSES[preset], null_class=True)


class Bench:
    """One preset's network on the device."""

    def __init__(self, preset: str, device: torch.device, *, tiny: bool) -> None:
        torch.manual_seed(0)
        self.preset, self.device = preset, device
        self.config = network_of(preset, tiny=tiny)
        self.diffusion = load_config(_CONFIGS / f"{preset}.toml").diffusion
        network = UNet(self.config).eval().to(device, torch.bfloat16)
        if device.type == "cuda":
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.weights = Weights(
            preset,
            network,
            (self.config.channels, *self.config.size),
            Condition.of_classes(self.config.null_class),
            torch.bfloat16,
            device,
        )

    def engine(self, size: int, *, graphs: bool) -> Engine:
        plan = Plan((size,), dtype=torch.bfloat16, graphs=graphs, places=max(2, size))
        return Engine(plan)

    def work(self, id_: str, *, rows: int, steps: int = STEPS, **changes: Any) -> Work:
        fields: dict[str, Any] = {"sampler": "dpmpp_2m", "first": 0, **changes}
        table = self.diffusion.build_table(fields.pop("sampler"), steps)
        first = fields.pop("first")
        return Work(
            id=id_,
            owner="bench",
            weights=self.weights,
            table=table,
            seeds=tuple(range(first, first + rows)),
            conditions=tuple(torch.tensor(i % 3) for i in range(rows)),
            **fields,
        )

    def bits_are_the_same(self, size: int) -> bool:
        """Whether pictures drawn alone and in company are equal, for every sampler."""
        engine = self.engine(size, graphs=True)
        same = True
        for sampler in SAMPLERS:
            watched: dict[str, Any] = {"rows": 2, "sampler": sampler, "guidance_scale": 2.0}
            engine.add(self.work("watched", steps=8, **watched))
            expected = _pictures(engine)
            for i, other in enumerate(SAMPLERS):
                engine.add(
                    self.work(f"w{i}", rows=1 + i % 2, steps=4 + i, sampler=other, first=9 * i + 9)
                )
                if i == 1:
                    engine.add(self.work("watched", steps=8, **watched))
                engine.step()
            drawn = _pictures(engine)
            same = same and all(drawn[key].equal(expected[key]) for key in expected)
        return same

    def step_seconds(self, size: int, *, graphs: bool, seconds: float) -> float:
        """Mean over about so many seconds, all places taken, nothing shown."""
        engine = self.engine(size, graphs=graphs)
        engine.add(self.work("w", rows=size, steps=min(1000, self.diffusion.timesteps)))
        for _ in range(4):
            engine.step()
        settle(self.device)
        began, made = time.perf_counter(), 0
        while not engine.idle and (made < 3 or time.perf_counter() - began < seconds):
            engine.step()
            made += 1
        settle(self.device)
        return (time.perf_counter() - began) / made

    def flops(self) -> float:
        """Of one evaluation of one row: multiplications and additions."""
        x = torch.zeros((1, *self.weights.shape), dtype=torch.bfloat16, device=self.device)
        t, label = torch.zeros(1, device=self.device), torch.zeros(1, dtype=torch.int64)
        with torch.inference_mode(), FlopCounterMode(display=False) as counter:
            self.weights.forward(x, t, label.to(self.device))
        return float(counter.get_total_flops())

    def profiled(self, size: int, steps: int = 5) -> Iterator[str]:
        """Lines: what a step's kernels take, and how long the device waits between them."""
        engine = self.engine(size, graphs=True)
        engine.add(self.work("w", rows=size, steps=min(1000, self.diffusion.timesteps)))
        for _ in range(4):
            engine.step()
        settle(self.device)
        cuda = self.device.type == "cuda"
        activities = [ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
        with profile(activities=activities) as profiler:
            began = time.perf_counter()
            for _ in range(steps):
                engine.step()
            settle(self.device)
            wall = (time.perf_counter() - began) / steps
        name = "self_device_time_total" if cuda else "self_cpu_time_total"
        spent = {e.key: getattr(e, name) / 1e6 / steps for e in profiler.key_averages()}
        busy = sum(spent.values())
        yield (
            f"{self.preset}, a step of {size}: {1000 * wall:.2f} ms under the profiler, of which "
            f"the device computes {1000 * busy:.2f} ms"
        )
        for kernel in sorted(spent, key=lambda key: -spent[key])[:8]:
            yield f"    {100 * spent[kernel] / busy:5.1f} %  {kernel[:90]}"


def _pictures(engine: Engine) -> dict[int, torch.Tensor]:
    drawn = {}
    while not engine.idle:
        for event in engine.step():
            if isinstance(event, ImageDone) and event.id == "watched":
                drawn[event.index] = torch.from_numpy(event.pixels.copy())
    return drawn


def peaks(device: torch.device, *, tiny: bool) -> tuple[float, float]:
    """FLOP/s that a large bf16 matrix product and a 3x3 convolution reach."""
    n = 64 if tiny else 8192
    a = torch.randn(n, n, dtype=torch.bfloat16, device=device)
    b, c, side = (1, 8, 8) if tiny else (256, 256, 32)
    x = torch.randn(b, c, side, side, dtype=torch.bfloat16, device=device)
    x = x.contiguous(memory_format=torch.channels_last)
    kernel = torch.randn(c, c, 3, 3, dtype=torch.bfloat16, device=device)
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    convolve = torch.nn.functional.conv2d
    product = 2 * n**3 / _best(lambda: a @ a, device)
    convolution = (
        2 * 9 * b * c * c * side**2 / _best(lambda: convolve(x, kernel, padding=1), device)
    )
    return product, convolution


def _best(work: Callable[[], object], device: torch.device, tries: int = 10) -> float:
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        work()
        settle(device)
        times.append(time.perf_counter() - began)
    return min(times)


def main(arguments: list[str] | None = None) -> None:
    """Print the table and the profiles."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 16, 64, 256, 1024])
    parser.add_argument("--seconds", type=float, default=4.0, help="of each figure")
    parser.add_argument("--tiny", action="store_true", help="small networks: tries the code")
    asked = parser.parse_args(arguments)
    device = pick_device()
    print(describe(), flush=True)
    product, convolution = peaks(device, tiny=asked.tiny)
    print(
        f"bf16 peaks: matrix product {product / 1e12:.2f}, convolution "
        f"{convolution / 1e12:.2f} TFLOP/s\n"
    )
    profiles: list[str] = []
    print(
        "| network | rows | graphs, ms a step | pictures/s | plain, ms a step | faster by "
        "| of the product's peak | of the convolution's |\n|---|---|---|---|---|---|---|---|"
    )
    for preset in asked.presets:
        bench = Bench(preset, device, tiny=asked.tiny)
        flops = bench.flops()
        for size in asked.sizes:
            try:
                graph = bench.step_seconds(size, graphs=True, seconds=asked.seconds)
                plain = bench.step_seconds(size, graphs=False, seconds=asked.seconds)
            except torch.OutOfMemoryError:
                print(f"| {preset} | {size} | no memory |", flush=True)
                break
            rate = flops * size / graph
            print(
                f"| {preset} | {size} | {1000 * graph:.2f} | {size / graph / STEPS:.0f} | "
                f"{1000 * plain:.2f} | {plain / graph:.2f} | {rate / product:.0%} | "
                f"{rate / convolution:.0%} |",
                flush=True,
            )
        chosen = Plan(tuple(asked.sizes), dtype=torch.bfloat16, single=True, graphs=True)
        (size,) = probe(bench.weights, chosen, Cores(1)).sizes or (0,)
        same = bench.bits_are_the_same(max(size, 8))
        profiles.append(
            f"{preset}: a worker would take chunks of {size}; bit-identical in company: "
            f"{'yes' if same else 'NO'}"
        )
        profiles += bench.profiled(size)
    print("\n" + "\n".join(profiles))


if __name__ == "__main__":
    main()
