"""`report.html`, `metrics.jsonl`, the model's card and `compare`: what a run shows of itself."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from models.checkpoint import read_manifest, resolve, write_manifest
from tests.training.data import CONFIG
from tests.training.run.test_lineage import draw
from training.__main__ import main
from training.card import to_card
from training.judging.history import quality_of
from training.metrics import append, curve, read_metrics
from training.plots import line_chart

COMMAND = ["train", "pets.toml", "--data", "data", "--device", "cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two classes with a licence, up to step 6 of 12, and the same of another rate."""
    root = tmp_path_factory.mktemp("run")
    names = '["Circle", "Square", "Cross"]'
    config = CONFIG.replace(names, '["cat", "dog <&>"]').replace("every = 6", "every = 3")
    (root / "pets.toml").write_text(f'{config}license = "cc-by-4.0"\n')
    draw(root / "data", "cat", 20, 0)
    draw(root / "data", "dog <&>", 20, 1)
    (root / "data/cat/broken.png").write_bytes(b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        assert main([*COMMAND, "--until", "6"]) == 0
        slower = ["--name", "slower", "--set", "train.learning_rate=1e-4", "--until", "6"]
        assert main([*COMMAND, *slower]) == 0
    return root


def test_the_page_needs_nothing_else_and_says_everything(folder: Path) -> None:
    page = (folder / "checkpoints/pets/report.html").read_text()
    for part in (
        "pets@0000006",
        "loss of the averaged weights",
        "loss by noise level, at the last report",
        "learning rate",
        "pictures per second",
        "held out",
        "dog &lt;&amp;&gt;",
        "<span>0 of 5</span>",
        "<span>5 of 5</span>",
        "The same noise, at earlier steps",
        "Nearest training pictures",
        "broken.png: the file is empty",
        "Began at random.",
        "learning_rate = 0.002",
    ):
        assert part in page, part
    assert 'src="http' not in page
    assert "href=" not in page
    assert page.count("<polyline") >= 7


def test_figures_are_lines_of_json(folder: Path) -> None:
    lines = read_metrics(folder / "checkpoints/pets")
    assert [step for step, _ in curve(lines, "held_out", "unseen")] == [3, 6]
    for name in ("loss", "learning_rate", "pictures_per_second", "gradient_norm"):
        assert [step for step, _ in curve(lines, name)] == [4, 6]


def test_what_a_resumed_run_takes_again_is_not_there_twice(folder: Path) -> None:
    pets = folder / "checkpoints/pets"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        append(pets, {"step": 7, "loss": 99.0})  # of a step that was never saved
        with (pets / "metrics.jsonl").open("a") as file:
            file.write('{"step": 8, "lo')
        assert main([*COMMAND, "--resume", "--until", "9"]) == 0
    lines = read_metrics(pets)
    assert [step for step, _ in curve(lines, "held_out", "unseen")] == [3, 6, 9]
    assert 99.0 not in [value for _, value in curve(lines, "loss")]


def test_the_configuration_is_kept_beside_the_run_and_can_be_used_again(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        again = ["train", "checkpoints/slower/slower.toml", "--data", "data", "--resume"]
        assert main([*again, "--until", "7"]) == 0


def test_the_card_is_one_that_the_hub_reads(folder: Path) -> None:
    pets = folder / "checkpoints/pets"
    card = ModelCard.load(pets / "README.md")
    assert card.data.get("license") == "cc-by-4.0"
    assert card.data.get("pipeline_tag") == "unconditional-image-generation"
    assert "of 2 classes: cat, dog <&>" in card.text
    assert "1 files could not be read" in card.text
    assert (pets / "strip.png").is_file()


def test_figures_stand_in_the_card_s_index(folder: Path) -> None:
    manifest = read_manifest(resolve(folder / "checkpoints/slower"))
    quality = {
        "class_agreement": {"drawn": 0.75, "images": 10, "sampler": "ddim", "steps": 5},
        "evaluation": {
            "images": 10,
            "sampler": "ddim",
            "steps": 5,
            "features": {
                "classifier": {
                    "frechet": {"drawn": 12.5, "real": 1},
                    "kernel": {"drawn": 0.25, "real": 0},
                }
            },
        },
    }
    manifest = replace(manifest, quality=quality, training={})  # of before there was a licence
    card = ModelCard(to_card(manifest, picture=None, diffusers=True))
    assert card.data.get("license") == "unknown"
    found = {one.metric_type: one.metric_value for one in card.data.get("eval_results")}
    assert found == {
        "class agreement": 0.75,
        "frechet (classifier)": 12.5,
        "kid (classifier)": 0.25,
    }
    assert "Not said. Pictures have owners" in card.text


def test_a_converted_folder_has_its_card_and_picture(folder: Path, tmp_path: Path) -> None:
    source, target = folder / "checkpoints/pets", tmp_path / "for-the-hub"
    assert main(["convert", str(source), str(target)]) == 0
    card = ModelCard.load(target / "README.md")
    assert card.data.get("library_name") == "diffusers"
    assert "DDPMPipeline" in card.text
    assert (target / "strip.png").is_file()


def test_two_runs_are_shown_side_by_side(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pets, slower = (str(folder / "checkpoints" / name) for name in ("pets", "slower"))
    out = tmp_path / "both.html"
    assert main(["compare", pets, slower, "--out", str(out)]) == 0
    assert "slower: step 7, held out loss " in capsys.readouterr().out
    page = out.read_text()
    assert page.count("<figure>") == 2
    assert "<td>train.learning_rate<td>0.002<td>0.0001" in page
    assert "slower held out" in page
    assert main(["compare", pets, pets]) == 2
    assert "is given twice" in capsys.readouterr().err


def test_evaluate_s_figures_come_into_the_page(folder: Path) -> None:
    slower = folder / "checkpoints/slower"
    manifest = read_manifest(resolve(slower))
    quality = {"class_agreement": {"drawn": 0.5}}
    write_manifest(resolve(slower), replace(manifest, quality=quality))
    append(slower, {"step": 4, "quality": {"class_agreement": {"drawn": 0.25}}})
    found = quality_of(slower, read_metrics(slower))
    assert [found[step]["class_agreement"]["drawn"] for step in sorted(found)] == [0.25, 0.5]
    # A run that has ended writes no page again: what evaluates does.
    before = (slower / "report.html").read_text()
    assert "None yet: python -m training evaluate" in before
    draw(folder / "more", "cat", 20, 2)
    draw(folder / "more", "dog <&>", 20, 3)
    data = ["--data", str(folder / "data"), "--data", f"{folder / 'more'}=2"]
    judged = ["--metrics", "agreement", "--images", "4", "--device", "cpu"]
    assert main(["evaluate", str(slower), *data, *judged]) == 0
    page = (slower / "report.html").read_text()
    noted = read_manifest(resolve(slower)).quality["class_agreement"]["drawn"]
    assert f"<table><tr><th>step<th>class agreement<tr><td>4<td>0.25<tr><td>7<td>{noted:.4g}" in (
        page
    )
    assert 'font-size="13">class agreement</text>' in page
    assert page.startswith(before.split('<section id="evaluation">')[0])
    assert page.endswith(before.split("</section>")[1])


def test_a_chart_leaves_out_what_cannot_be_drawn() -> None:
    assert line_chart("empty", {"a": []}) == ""
    chart = line_chart(
        "loss", {"a <b>": [(1, 0.5), (2, float("nan")), (3, 0.25)]}, logarithmic=True
    )
    assert chart.count("<circle") == 2
    assert "a &lt;b&gt;" in chart
    many = line_chart("loss", {"": [(step, 1 / (1 + step)) for step in range(10_000)]})
    assert len(many) < 10_000


def test_metrics_are_one_object_a_line(folder: Path) -> None:
    text = (folder / "checkpoints/slower/metrics.jsonl").read_text()
    assert all(isinstance(json.loads(line)["step"], int) for line in text.splitlines())
