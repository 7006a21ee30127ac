"""`python -m training inspect`: figures against independent ones, and pictures that show them."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from models.checkpoint import load_model
from models.sampler import SAMPLERS
from models.schedule import SCHEDULES, Schedule
from models.unet import UNet
from tests.support import tiny_config, write_checkpoint
from tests.training.data import CONFIG, write_idx
from training.__main__ import main
from training.charts import COLORS
from training.config import load_config
from training.inspection.networks import inspect_network
from training.inspection.noising import noise_picture, read_picture
from training.inspection.synthetic import synthetic_pictures

SHIPPED = Path(__file__).parents[3] / "checkpoints" / "fashion-mnist"


def inspect(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    assert main(["inspect", *map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def colors_of(path: Path) -> set[tuple[int, ...]]:
    with Image.open(path) as image:
        found = image.convert("RGB").getcolors(1 << 24)
    assert found
    return {color for count, color in found if count > 20 and isinstance(color, tuple)}


def test_schedules_are_shown_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    shown = inspect(capsys, "schedule")
    assert list(shown) == list(SCHEDULES)
    alpha_bar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    rows = shown["linear"]["rows"]
    assert [row["t"] for row in rows] == [0, 100, 250, 500, 750, 900, 999]
    for row in rows:
        expected = alpha_bar[row["t"]]
        assert row["alpha_bar"] == pytest.approx(expected, rel=1e-12)
        assert row["snr_db"] == pytest.approx(10 * math.log10(expected / (1 - expected)), abs=1e-9)
    assert shown["linear"]["zero_db_crossing"] == int(np.argmax(alpha_bar < 0.5))
    assert shown["exponential"]["zero_db_crossing"] == math.floor(1000 * math.log(2) / 12)


def test_another_length_shows_the_same_shares_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    shown = inspect(capsys, "schedule", "--timesteps", 200)
    assert [row["t"] for row in shown["cosine"]["rows"]] == [0, 20, 50, 100, 150, 180, 199]
    assert 95 < shown["sigmoid"]["zero_db_crossing"] <= 100
    shortest = inspect(capsys, "schedule", "--timesteps", 3)
    assert [row["t"] for row in shortest["cosine"]["rows"]] == [0, 1, 2]


def test_schedules_have_a_table_and_a_plot(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["inspect", "schedule", "--out", f"{tmp_path}/deep/plot.png"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == list(SCHEDULES)
    assert re.findall(r"t = +(\d+)", table[-1]) == ["259", "496", "57", "499"]
    drawn = colors_of(tmp_path / "deep" / "plot.png")
    assert {ImageColor.getrgb(color) for color in COLORS[: len(SCHEDULES)]} <= drawn


@pytest.mark.parametrize("name", ["exponential", "sigmoid"])
def test_every_schedule_can_be_trained_and_sampled(name: str, tmp_path: Path) -> None:
    path = tmp_path / "shapes.toml"
    path.write_text(CONFIG)
    config = load_config(path, overrides=[f"diffusion.schedule={name}"])
    assert config.diffusion.build_schedule() == Schedule(name, 100)
    for sampler in SAMPLERS:
        assert config.diffusion.build_table(sampler, 10).t[0] > 70
    ranged = ["diffusion.schedule=scaled_linear", "diffusion.beta_range=[1e-3, 0.1]"]
    assert load_config(path, overrides=ranged).diffusion.beta_range == (1e-3, 0.1)


def test_noising_shows_seven_frames_from_the_picture_to_noise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    shown = inspect(capsys, "forward", "--schedule", "cosine", "--out", tmp_path / "strip.png")
    assert [frame["t"] for frame in shown["frames"]] == [0, 166, 333, 500, 666, 832, 999]
    decibels = [frame["snr_db"] for frame in shown["frames"]]
    assert decibels == sorted(decibels, reverse=True)
    with Image.open(tmp_path / "strip.png") as strip:
        assert strip.width > 7 * strip.height / 2
        pixels = np.asarray(strip.convert("RGB"), np.float64)
    width = pixels.shape[1] // 7
    roughness = [
        np.abs(np.diff(pixels[100:300, i * width + 20 : (i + 1) * width - 20], axis=0)).mean()
        for i in range(7)
    ]
    assert roughness == sorted(roughness)


def test_every_frame_has_the_same_noise() -> None:
    schedule, picture = Schedule("linear", 100), synthetic_pictures(1, channels=1, size=(8, 8))
    first, second = (
        (frame.x_t - schedule.alphas[frame.t] * picture) / schedule.sigmas[frame.t]
        for frame in noise_picture(picture, schedule, frames=2, seed=5)
    )
    torch.testing.assert_close(first, second, atol=1e-4, rtol=0)
    assert 0.5 < float(first.std()) < 1.5


def test_a_picture_file_is_noised_upright_and_in_its_colours(tmp_path: Path) -> None:
    image = Image.new("RGB", (600, 300), "red")
    exif = image.getexif()
    exif[0x0112] = 6  # the camera was turned
    image.save(tmp_path / "turned.png", exif=exif)
    assert read_picture(tmp_path / "turned.png").shape == (1, 3, 256, 128)
    Image.new("L", (9, 5), 255).save(tmp_path / "grey.png")
    assert torch.equal(read_picture(tmp_path / "grey.png"), torch.ones(1, 1, 5, 9))
    Image.fromarray(np.full((5, 9), 128 * 257, np.uint16)).save(tmp_path / "deep.png")
    assert read_picture(tmp_path / "deep.png").unique().tolist() == [
        pytest.approx(1 / 255, rel=1e-4)
    ]
    Image.new("RGBA", (9, 5), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert torch.equal(read_picture(tmp_path / "clear.png"), torch.ones(1, 3, 5, 9))


def test_a_network_is_shown_level_by_level(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path, "tiny")
    shown = inspect(capsys, "network", folder)
    network = load_model(folder).network
    assert shown["name"] == "tiny@0000001"
    assert shown["total"]["parameters"] == sum(p.numel() for p in network.parameters())
    levels = {level["name"]: level for level in shown["levels"]}
    assert list(levels) == ["in", "down 0", "down 1", "mid", "up 1", "up 0", "out"]
    assert (levels["down 1"]["size"], levels["up 0"]["size"]) == ([4, 4], [8, 8])
    assert [level["attention"] for level in levels.values()] == [0, 0, 1, 1, 1, 0, 0]
    assert levels["out"]["parameters"] == 2 * 8 + 8 * 9 + 1
    assert shown["total"]["activation_bytes"] == sum(
        level["activation_bytes"] for level in shown["levels"]
    )


def test_activation_memory_is_what_training_keeps() -> None:
    # Convolutions and norms keep so many maps of the picture's size: four times the pixels, four
    # times the memory. Attention at the lowest level is linear too, as CPU and GPU compute it.
    config = tiny_config(attention_levels=(False, False), mid_attention=False)
    small = inspect_network("small", config).levels[1]
    large = inspect_network("large", tiny_config(size=(32, 32))).levels[1]
    assert large.activation_bytes / small.activation_bytes == pytest.approx(16, rel=0.1)
    # The block's norm1 and conv1, norm2 and conv2, and the down-sampler keep their inputs, the
    # SiLUs theirs; a map is 8 channels of 8x8 floats.
    maps = small.activation_bytes / (8 * 8 * 8 * 4)
    assert 6 <= maps <= 8


def test_two_networks_stand_side_by_side(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "shapes.toml"
    config.write_text(CONFIG)
    shown = inspect(capsys, "network", config, SHIPPED)
    built = load_config(config)
    shape = built.network.build(built.data, 3, null_class=True)
    assert shown["a"]["total"]["parameters"] == sum(p.numel() for p in UNet(shape).parameters())
    assert shown["b"]["total"]["parameters"] == 2_736_353

    plot = tmp_path / "plot.png"
    assert main(["inspect", "network", f"{config}", f"{SHIPPED}", "--out", f"{plot}"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split() == ["shapes", "|", "fashion-mnist@0008600"]
    assert "2,736,353" in table[-2]
    assert {ImageColor.getrgb(color) for color in COLORS[:2]} <= colors_of(plot)


def test_a_configuration_without_class_names_is_told_their_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    config = tmp_path / "shapes.toml"
    config.write_text("\n".join(x for x in CONFIG.splitlines() if "class_names" not in x))
    assert main(["inspect", "network", f"{config}", "--json"]) == 0
    said = capsys.readouterr()
    assert "shapes.toml names no classes; add them with --classes N" in said.err
    counted = inspect(capsys, "network", config, "--classes", 3)
    more = counted["total"]["parameters"] - json.loads(said.out)["total"]["parameters"]
    assert more == 4 * 4 * 8  # three classes and the null class, four times the base width


def test_zero_costs_one_random_two_and_perfect_nothing_at_every_stage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = inspect(capsys, "error")
    assert (shown["pictures"], shown["timesteps"]) == (50, 200)
    assert [(b["from"], b["to"]) for b in shown["bins"]] == [
        (0, 49), (50, 99), (100, 149), (150, 199),
    ]  # fmt: skip
    for one in shown["bins"]:
        assert one["zero"] == pytest.approx(1, abs=0.02)
        assert one["random"] == pytest.approx(2, abs=0.04)
        assert 0 <= one["perfect"] < 1e-20
        assert "model" not in one


@pytest.mark.parametrize("schedule", ["cosine", "exponential", "sigmoid"])
def test_the_yardsticks_do_not_depend_on_the_schedule(
    schedule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--schedule", schedule, "--timesteps", 50, "--images", 8, "--bins", 2]
    for one in inspect(capsys, "error", *arguments)["bins"]:
        assert one["zero"] == pytest.approx(1, abs=0.05)
        assert one["perfect"] < 1e-12


def test_a_trained_model_does_worst_where_there_is_least_noise(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    plot = tmp_path / "plot.png"
    shown = inspect(capsys, "error", SHIPPED, "--images", 6, "--draws", 1, "--out", plot)
    assert (shown["model"], shown["timesteps"]) == ("fashion-mnist@0008600", 1000)
    errors = [one["model"] for one in shown["bins"]]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] < 0.7
    assert {ImageColor.getrgb(color) for color in COLORS[:3]} <= colors_of(plot)


def test_a_model_is_measured_on_real_pictures_with_their_classes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path, "tiny", config=tiny_config(null_class=None), classes=())
    write_idx(tmp_path / "data")
    arguments = ["error", folder, "--images", 5, "--bins", 1, "--draws", 1]
    real = inspect(capsys, *arguments, "--data", tmp_path / "data")
    assert (real["pictures"], real["data"]) == (5, "data")
    assert inspect(capsys, *arguments)["pictures"] == 5  # classes by lot
    for split in ("train", "test"):
        (tmp_path / "loose" / split).mkdir(parents=True)
        Image.new("L", (9, 9), 99).save(tmp_path / "loose" / split / "a.png")
    assert main(["inspect", *map(str, arguments), "--data", str(tmp_path / "loose")]) == 2
    assert "needs each picture's class, and" in capsys.readouterr().err


def test_of_many_bins_every_bar_is_drawn_and_only_some_are_named(tmp_path: Path) -> None:
    plot = tmp_path / "plot.png"
    arguments = ["inspect", "error", "--images", "1", "--draws", "1", "--bins", "200"]
    assert main([*arguments, "--out", str(plot)]) == 0
    assert {ImageColor.getrgb(color) for color in COLORS[:2]} <= colors_of(plot)


def test_without_matplotlib_the_figures_are_printed_and_a_plot_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["inspect", "schedule"]) == 0
    assert main(["inspect", "schedule", "--out", f"{tmp_path}/plot.png"]) == 2
    said = capsys.readouterr()
    assert said.out.count("linear") == 2
    assert said.err.startswith("error: charts need matplotlib, which is not installed; `pip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["schedule", "--timesteps", "1"], "--timesteps 1: a schedule has 2 to 10000"),
        (["schedule", "--out", "/proc/none/plot.png"], "/proc/none/plot.png cannot be written"),
        (["forward", "nowhere.png"], "picture nowhere.png cannot be read"),
        (["forward", "--frames", "1"], "--frames 1 is not in 2 ... T = 1000"),
        (["forward", "--timesteps", "0"], "--timesteps 0: a schedule has 2 to 10000"),
        (["forward", "--seed", "-1"], "--seed -1 is not in 0"),
        (["network", "nowhere.toml"], "cannot be read"),
        (["network", f"{SHIPPED}", "."], "no checkpoint is there"),
        (["network", f"{SHIPPED}", "--classes", "-1"], "--classes -1 is negative"),
        (["error", "--bins", "201"], "--bins 201 is not in 1 ... T = 200"),
        (["error", "--draws", "0"], "--draws 0 is not at least 1"),
        (["error", "--images", "0"], "--images 0 is not at least 1"),
        (["error", "--data", "."], "--data needs a MODEL"),
        (["error", f"{SHIPPED}", "--timesteps", "200"], "leave out --schedule and --timesteps"),
        (["error", "nowhere"], "no checkpoint is there"),
        (["error", f"{SHIPPED.parent}/cars-64-latent"], "works with latents or texts"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_two(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["inspect", *arguments]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert message in said.err
    assert said.err.count("\n") == 1
