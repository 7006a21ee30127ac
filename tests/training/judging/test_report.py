"""The page of an evaluation: whole in itself, and nothing in a name becomes part of it."""

import base64
import io
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch
from PIL import Image

from models.checkpoint import read_manifest, write_manifest
from models.distilled import Distilled, LearnedTable
from models.manifest import Defaults, Diffusion, Manifest
from models.unet import UNetConfig
from tests.support import write_checkpoint
from training.judging.accuracy import Accuracy
from training.judging.agreement import Agreement
from training.judging.coverage import measure_coverage
from training.judging.distances import Distances
from training.judging.drawing import Drawn
from training.judging.figures import table
from training.judging.history import note
from training.judging.neighbours import find_nearest, measure_copying
from training.judging.report import write_report
from training.judging.results import Evaluation, InFeatures
from training.pictures.data import Pictures

NAMES = ("<b>Circle</b>", "Square")
RANDOM = torch.Generator().manual_seed(0)


def some(count: int, channels: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, 8, 8), generator=RANDOM).byte()


def pictures(count: int, channels: int, classes: tuple[str, ...]) -> Pictures:
    labels = torch.arange(count) % max(1, len(classes))
    return Pictures(some(count, channels).numpy(), labels.numpy(), classes, "0" * 64)


def manifest(channels: int, classes: tuple[str, ...]) -> Manifest:
    network = UNetConfig(
        channels=channels,
        size=(8, 8),
        block_channels=(8,),
        blocks_per_level=1,
        attention_levels=(False,),
        norm_groups=4,
        num_class_embeds=len(classes) or None,
    )
    diffusion = Diffusion(schedule="cosine", timesteps=10, prediction="v")
    return Manifest(
        name="shapes",
        step=1,
        network=network,
        diffusion=diffusion,
        classes=classes,
        defaults=Defaults(steps=5),
    )


def found(train: Pictures, test: Pictures) -> Evaluation:
    channels, classes = train.images.shape[1], train.classes
    images = some(40, channels)
    features = images.flatten(1).float()
    coverage = measure_coverage(features, torch.tensor(test.images).flatten(1).float())
    nearest = (
        find_nearest(images, train.images),
        find_nearest(torch.tensor(test.images), train.images),
    )
    labels = torch.arange(40) % 2 if classes else None
    drawn = Drawn(
        images=images, labels=labels, settings=Defaults(steps=5), seconds=2.0, evaluations=5
    )
    agreement = Agreement(
        drawn=0.75,
        real=0.9,
        per_class=dict.fromkeys(classes, 0.75),
        images=40,
        settings=drawn.settings,
    )
    one = InFeatures(
        extractor="pixels & all",
        features=features.shape[1],
        drawn=(Distances(2.0, 0.002, 0.0001), coverage),
        real=(Distances(0.5, 0.0, 0.0001), coverage),
    )
    return Evaluation(
        drawn=drawn,
        dtype="float32",
        device="cpu",
        unseen=len(test),
        features={"pixels": one},
        agreement=agreement if classes else None,
        copying=measure_copying(*nearest),
        nearest=nearest,
    )


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.sources: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize(("channels", "classes"), [(1, NAMES), (3, ()), (4, NAMES)])
def test_a_page_holds_its_pictures_and_figures_and_needs_nothing_else(
    tmp_path: Path, channels: int, classes: tuple[str, ...]
) -> None:
    train, test = pictures(60, channels, classes), pictures(40, channels, classes)
    evaluation = found(train, test)
    path = tmp_path / "reports" / "page.html"
    write_report(
        path,
        manifest(channels, classes),
        evaluation,
        train=train,
        test=test,
        chosen=torch.arange(40).numpy(),
    )
    page = Page(path.read_text(encoding="utf-8"))
    assert page.tags.count("img") == 4  # drawn, real, neighbours, curves
    for source in page.sources:
        kind, _, data = source.partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert min(image.size) > 20
    assert "b" not in page.tags  # a class's name is text
    assert "4.00 times its floor" in page.words
    assert "pixels & all" in page.words
    assert ("<b>Circle</b>" in page.words) == bool(classes)


def test_the_table_says_how_few_pictures_there_are_for_the_features() -> None:
    train, test = pictures(60, 1, NAMES), pictures(40, 1, NAMES)
    lines = "\n".join(table(manifest(1, NAMES), found(train, test)))
    assert "20.0 pictures/s in float32 on cpu" in lines
    assert "fewer pictures than its 64 features: compare only at this many" in lines


def test_a_manifest_keeps_every_figure_beside_that_of_real_pictures() -> None:
    train, test = pictures(60, 1, NAMES), pictures(40, 1, NAMES)
    noted = found(train, test).to_json()
    assert (noted["images"], noted["steps"], noted["evaluations_per_image"]) == (40, 5, 5)
    one = noted["features"]["pixels"]
    assert one["frechet"] == {"drawn": 2.0, "real": 0.5}
    assert one["frechet_ratio"] == 4.0
    assert set(one["recall"]) == {"drawn", "real"}
    assert noted["classification_accuracy"] is None
    assert 0 <= noted["nearest_training_pictures"]["nearer"] <= 1


def test_where_real_pictures_reach_nothing_there_is_no_ratio() -> None:
    train, test = pictures(60, 1, NAMES), pictures(40, 1, NAMES)
    one = found(train, test)
    assert one.agreement is not None
    nothing = replace(
        one, agreement=replace(one.agreement, real=0.0), accuracy=Accuracy(0.5, 0.0, 8)
    )
    assert nothing.agreement is not None
    assert nothing.agreement.to_json()["ratio"] is None
    assert nothing.to_json()["classification_accuracy"]["ratio"] is None
    assert "ratio nan" in "\n".join(table(manifest(1, NAMES), nothing))


def test_figures_that_were_noted_while_others_were_measured_stay(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path)
    note(folder, {"class_agreement": {"drawn": 0.9}})
    rows = {"a": (1.0, 0.0), "b": (0.5, 1.0), "c": (0.0, 0.0)}
    learned = Distilled(tables=(LearnedTable(guidance_scale=1.5, t=(9.0, 4.0), **rows),))
    write_manifest(folder, replace(read_manifest(folder), distilled=learned))
    note(folder, {"evaluation": {"images": 100}})
    manifest = read_manifest(folder)
    assert manifest.quality == {
        "class_agreement": {"drawn": 0.9},
        "evaluation": {"images": 100},
    }
    assert manifest.distilled == learned
