"""Training on captions: what is said is what is drawn."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from models.checkpoint import load_model, read_manifest, resolve
from models.companions import Text
from models.encoder import TextEncoder
from models.sample import draw
from tests.companions import WIDTH, write_bert
from tests.training.encoding.data import COLOURS, trainer, write_squares
from training.errors import TrainingError
from training.pictures.captions import captions_of
from training.pictures.data import load_pictures
from training.pictures.sources import Split


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_red_and_blue_are_drawn_red_and_blue(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.run(until=250)
    run.close()
    model = load_model(run.folder)
    manifest, encoder = model.manifest, model.encoder
    assert encoder is not None
    assert manifest.text == Text(tokens=8, examples=("a blue square", "a red square"))
    asked = ["red", "blue"] * 8
    drawn = draw(
        model.network,
        manifest.diffusion.build_table("dpmpp_2m", 8),
        seeds=torch.arange(16),
        labels=torch.stack([encoder.encode(f"a {colour} square").states for colour in asked]),
        null=encoder.encode("").states,
        guidance_scale=1.5,
    )
    pixels = (drawn.permute(0, 2, 3, 1) + 1) * 127.5
    shares = [
        {
            colour: float(((pixels[row] - torch.tensor(rgb)).abs().amax(-1) < 70).float().mean())
            for colour, rgb in COLOURS.items()
        }
        for row in range(16)
    ]
    for colour, share in zip(asked, shares, strict=True):
        other = "blue" if colour == "red" else "red"
        assert share[colour] > 0.08, (colour, share)  # a square is a quarter of the picture
        assert share[other] < 0.04, (colour, share)


def test_a_checkpoint_carries_the_encoder_and_the_run_resumes(tmp_path: Path) -> None:
    whole = trainer(tmp_path, out="whole")
    whole.run(until=6)
    first = trainer(tmp_path, out="parts")
    first.run(until=3)
    second = trainer(tmp_path, out="parts")
    second.resume()
    second.run(until=6)
    for name, value in whole.learner.network.named_parameters():
        assert torch.equal(value, dict(second.learner.network.named_parameters())[name]), name
    folder = resolve(second.folder)
    names = set(read_manifest(folder).files)
    assert {"text_encoder/model.safetensors", "tokenizer/tokenizer.json"} <= names
    other = write_bert(tmp_path / "other", initializer_range=0.5)
    with pytest.raises(TrainingError, match="was trained with text_encoder"):
        trainer(tmp_path, out="parts", encoder=other).resume()


def test_captions_are_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trainer(tmp_path).lesson.inputs
    assert first is not None
    assert first.states is not None
    assert first.states.shape == (2, 8, WIDTH)

    def never(*_arguments: object) -> None:
        raise AssertionError("a caption was encoded again")

    monkeypatch.setattr(TextEncoder, "encode", never)
    again = trainer(tmp_path).lesson.inputs
    assert again is not None
    assert again.states is not None
    assert np.array_equal(first.states, again.states)


def test_a_dropped_caption_is_the_empty_text(tmp_path: Path) -> None:
    run = trainer(tmp_path, "train.label_dropout=0.5")
    inputs, objective = run.lesson.inputs, run.lesson.objective
    assert inputs is not None
    assert inputs.null is not None
    draws = objective.draw(0)
    labels = inputs.conditions(np.arange(16) % 2)
    pixels = torch.zeros(16, 3, 8, 8, dtype=torch.uint8)
    seen = objective.noised(pixels, labels, draws, slice(0, 16)).labels
    assert seen is not None
    dropped = draws.unlabelled
    assert 0 < int(dropped.sum()) < 16
    assert torch.equal(seen[dropped], inputs.null.expand(int(dropped.sum()), -1, -1))
    assert torch.equal(seen[~dropped], labels[~dropped])


def test_an_encoder_in_a_package_stays_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_bert(tmp_path / "site" / "words_of_mine" / "model")
    (tmp_path / "site" / "words_of_mine" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    name = "package:words_of_mine/model"
    run = trainer(tmp_path, "text.store=reference", encoder=name)
    run.run(until=1)
    model = load_model(run.folder)
    assert model.encoder is not None
    assert f"{name}/model.safetensors" in model.manifest.files
    assert not (resolve(run.folder) / "text_encoder").exists()


def test_captions_are_made_of_the_fields_of_metadata(tmp_path: Path) -> None:
    lines = [
        {"file_name": "b.png", "text": "firefighter", "style": "google", "year": 16},
        {"file_name": "a.png", "text": "keycap: *", "style": "twitter", "year": 15},
    ]
    content = "\n".join(map(json.dumps, lines)).encode()
    found = captions_of(
        ["in/a.png", "in/b.png"],
        {"in/metadata.jsonl": content},
        template="{text}, {style} {year}",
    )
    assert [one.text for one in found] == ["keycap: *, twitter 15", "firefighter, google 16"]
    folder = write_squares(tmp_path / "x")
    data = load_pictures(folder, size=(8, 8), channels=3, caption="{text}", hold_out=0, quiet=True)
    assert (data.captions, data.classes) == (("blue", "red"), ())
    assert data.labels.tolist()[:4] == [1, 0, 1, 0]  # of 0.png, 1.png, 10.png and 11.png


def test_a_group_of_captions_is_held_out_whole(tmp_path: Path) -> None:
    folder = write_squares(tmp_path / "x", count=200)
    lines = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    for line in lines:
        line["text"], line["name"] = f"{line['text']} {line['number'] // 4}", line["number"] // 4
    (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))

    def said(split: Split) -> set[str]:
        data = load_pictures(
            folder,
            split=split,
            size=(8, 8),
            channels=3,
            caption="{text}",
            caption_group="{name}",
            hold_out=0.3,
            quiet=True,
        )
        return {data.captions[label] for label in data.labels}

    train, test = said("train"), said("test")
    assert not train & test
    assert len(train) + len(test) == 100
    assert 5 < len(test) < 60
    numbers = [{one.split()[1] for one in captions} for captions in (train, test)]
    assert not numbers[0] & numbers[1]


@pytest.mark.parametrize(
    ("content", "template", "message"),
    [
        (None, "{text}", "needs captions"),
        (b"{", "{text}", "metadata.jsonl, line 1 is not of the form"),
        (b"[1]", "{text}", "is not of the form"),
        (b'{"file_name": 1}', "{text}", "file_name = 1 is no name"),
        (b'{"file_name": "a.png", "text": "x"}', "{style}", "no field 'style'"),
        (b'{"file_name": "a.png", "text": null}', "{text}", "no field 'text'"),
        (b'{"file_name": "b.png", "text": "x"}', "{text}", "no line for a.png"),
        (b'{"file_name": "a.png", "text": "x"}', "x" * 2001, "2001 characters"),
    ],
)
def test_broken_metadata_is_refused_with_its_place(
    content: bytes | None, template: str, message: str
) -> None:
    metadata = {} if content is None else {"metadata.jsonl": content}
    with pytest.raises(TrainingError, match=message):
        captions_of(["a.png"], metadata, template=template)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("text.tokens=1", "text.tokens = 1 is not in 2"),
        ("text.encoder=/nowhere", "is no text encoder's folder"),
        ("text.encoder=package:no_such_package/model", "no_such_package, which"),
        ("text.store=reference", "needs an encoder in a package"),
        ("text.store=lend", "not one of copy, reference"),
        ("publish.gate=true", "not with \\[latent\\] or \\[text\\]"),
        ("network.head_dim=5", "32 channels are not divisible by 6 heads"),
    ],
)
def test_a_text_section_that_cannot_be_is_refused(
    tmp_path: Path, override: str, message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        trainer(tmp_path, override)
