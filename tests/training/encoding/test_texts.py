"""Training on captions: what is said is what is drawn."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from models.checkpoint import load_model, read_manifest, resolve
from models.companions import Text
from models.encoder import Encoded, TextEncoder, load_encoder
from models.sample import draw
from models.unet import UNet, UNetConfig
from tests.companions import WIDTH, write_bert, write_text_checkpoint
from tests.support import write_checkpoint
from tests.training.encoding.data import COLOURS, trainer, write_squares
from training.__main__ import main
from training.autoencoder.settings import load_settings
from training.config import Config, load_config
from training.encoding.compact import compacted
from training.encoding.inputs import network_shape, prepare
from training.errors import TrainingError
from training.pictures.captions import captions_of
from training.pictures.data import load_pictures
from training.pictures.source import Split
from training.sections import Texts


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


def test_two_runs_may_encode_the_same_captions_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, others = TextEncoder.encode, list[np.ndarray]()
    begun = iter([True])

    def while_another_does(encoder: TextEncoder, text: str) -> Encoded:
        if next(begun, False):
            others.append(states_of(tmp_path))
        return encode(encoder, text)

    monkeypatch.setattr(TextEncoder, "encode", while_another_does)
    own = states_of(tmp_path)
    assert np.array_equal(own, others[0])
    assert own.any(axis=(1, 2)).all()
    assert not list((tmp_path / "cache").rglob("*.part"))


def states_of(tmp_path: Path) -> np.ndarray:
    """What a run is told by its captions."""
    inputs = trainer(tmp_path).lesson.inputs
    assert inputs is not None
    assert inputs.states is not None
    return np.array(inputs.states)


def test_a_caption_that_no_request_may_have_is_no_example(tmp_path: Path) -> None:
    inputs = trainer(tmp_path, f"text.caption={'{text}' * 300}").lesson.inputs
    assert inputs is not None
    assert inputs.text is not None
    assert inputs.text.examples == ("red" * 300,)  # and "blue" is too long


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
    about = [
        {"text": "keycap: *", "style": "twitter", "year": 15},
        {"text": "firefighter", "style": "google", "year": 16},
    ]
    found, without = captions_of(["a.png", "b.png"], about, template="{text}, {style} {year}")
    assert [one.text for one in found] == ["keycap: *, twitter 15", "firefighter, google 16"]
    assert not without
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
        (b'{"file_name": "a.png", "text": "x"}', "{style}", "no field 'style'.*data: text"),
        (b'{"file_name": "a.png", "text": null}', "{text}", "no field 'text'"),
        (b'{"file_name": "b.png", "text": "x"}', "{text}", "it has no line in a metadata file"),
        (b'{"file_name": "a.png", "text": "x"}', "x" * 2001, "2001 characters"),
    ],
)
def test_broken_metadata_is_refused_with_its_place(
    tmp_path: Path, content: bytes | None, template: str, message: str
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    if content is not None:
        (tmp_path / "metadata.jsonl").write_bytes(content)
    with pytest.raises(TrainingError, match=message):
        load_pictures(tmp_path, size=(8, 8), channels=3, caption=template, hold_out=0)


def test_pictures_without_a_caption_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_squares(tmp_path / "x", count=20)
    lines = (folder / "metadata.jsonl").read_text().splitlines()
    (folder / "metadata.jsonl").write_text("\n".join(lines[:17]))
    data = load_pictures(folder, size=(8, 8), channels=3, caption="{text}", hold_out=0)
    assert (len(data), data.unreadable, data.captions) == (17, 3, ("blue", "red"))
    report = capsys.readouterr().err.split("left out; ")[1].split(" names them")[0]
    assert "17.png: it has no line in a metadata file" in Path(report).read_text()


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


def test_sample_draws_from_prompts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text_checkpoint(tmp_path, latent=True)
    model, out = f"{tmp_path}/words", tmp_path / "grid.png"
    common = ["sample", model, "--steps", "2", "--out", str(out)]
    assert main([*common, "--batch", "3", "--prompt", "red", "--prompt", "blue"]) == 0
    with Image.open(out) as image:
        assert image.size == (3 * 36 - 4, 2 * 36 - 4)  # of 16x16 pictures, twice as large
    assert main([*common, "--prompt", "red", "--negative-prompt", "blue", "--strip", "3"]) == 0
    with Image.open(out) as image:
        assert image.mode == "RGB"
    capsys.readouterr()
    assert main([*common, "--class", "0"]) == 2
    assert "draws from texts; give one with --prompt" in capsys.readouterr().err
    assert main([*common, "--prompt", "\ud800"]) == 2
    assert "surrogate pair" in capsys.readouterr().err
    write_checkpoint(tmp_path, "classes")
    assert main(["sample", f"{tmp_path}/classes", "--out", str(out), "--prompt", "red"]) == 2
    assert "does not draw from texts" in capsys.readouterr().err


def test_the_presets_that_need_encoders_are_whole(tmp_path: Path) -> None:
    presets = Path(__file__).parents[3] / "configs"

    def autoencoder(name: str) -> Path:
        settings = load_settings(presets / f"{name}.toml", name=None, overrides=[])
        folder = tmp_path / name
        folder.mkdir()
        words = json.dumps(settings.autoencoder.words(settings.data))
        (folder / "config.json").write_text(words)
        return folder

    vae = f"latent.autoencoder={autoencoder('cars-64-vae')}"
    shape = network_shape(load_config(presets / "cars-64-latent.toml", overrides=[vae]), 196)
    assert (shape.size, shape.channels, shape.null_class) == ((16, 16), 8, 196)
    assert _millions(shape) == pytest.approx(4.05, abs=0.005)
    vae = f"latent.autoencoder={autoencoder('emoji-64-vae')}"
    bert = f"text.encoder={write_bert(tmp_path / 'bert', width=384)}"
    shape = network_shape(load_config(presets / "emoji-64.toml", overrides=[vae, bert]), 0)
    assert shape.text is not None
    assert (shape.text.width, shape.size, shape.channels) == (384, (16, 16), 8)
    assert _millions(shape) == pytest.approx(5.03, abs=0.005)


def _millions(shape: UNetConfig) -> float:
    with torch.device("meta"):
        return sum(p.numel() for p in UNet(shape).parameters()) / 1e6


def test_held_out_captions_are_told_by_the_encoder_that_is_made_for_the_others(
    tmp_path: Path,
) -> None:
    run = trainer(tmp_path, "text.compact=true")
    ours = run.lesson.inputs
    assert isinstance(run.config, Config)
    assert ours is not None
    assert ours.states is not None
    data = replace(run.data, captions=("a red square", "a small square"))
    cpu = torch.device("cpu")
    theirs = prepare(run.config, data, device=cpu, say=print, beside=run.data)
    assert theirs.states is not None
    red = run.data.captions.index("a red square")
    assert np.array_equal(theirs.states[0], ours.states[red])
    assert theirs.facts == ours.facts


def test_a_compact_encoder_says_nearly_the_same_of_the_captions_in_less(tmp_path: Path) -> None:
    folder = write_bert(tmp_path / "bert")
    captions = ["a red square", "a blue square"]
    small = compacted(folder, folder, captions, say=print)
    assert compacted(folder, folder, captions, say=print) == small
    words = (small / "vocab.txt").read_text().split()
    assert words == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "square", "a"]
    sizes = [(at / "model.safetensors").stat().st_size for at in (folder, small)]
    assert sizes[1] < 0.45 * sizes[0]
    whole, compact = (load_encoder(at, at, tokens=8) for at in (folder, small))
    for caption in ["", *captions]:
        a, b = whole.encode(caption).states, compact.encode(caption).states
        assert float(torch.cosine_similarity(a.flatten(), b.flatten(), dim=0)) > 0.999
    unknown = compact.encode("a large square").states
    assert torch.equal(unknown, compact.encode("a small square").states)  # both unknown now
    with pytest.raises(TrainingError, match="needs a BERT with vocab.txt"):
        compacted(tmp_path, tmp_path, captions, say=print)
    (folder / "config.json").write_text('{"model_type": "clip_text_model"}')
    with pytest.raises(TrainingError, match="'clip_text_model': leave it out"):
        compacted(folder, folder, captions, say=print)


def test_a_compact_encoder_travels_and_is_the_one_that_was_learned_from(tmp_path: Path) -> None:
    run = trainer(tmp_path, "text.compact=true")
    run.run(until=1)
    model, inputs = load_model(run.folder), run.lesson.inputs
    assert model.encoder is not None
    assert inputs is not None
    assert inputs.states is not None
    for index, caption in enumerate(run.data.captions):
        learned = torch.from_numpy(np.array(inputs.states[index])).float()
        torch.testing.assert_close(
            model.encoder.encode(caption).states, learned, atol=2e-3, rtol=2e-3
        )
    with pytest.raises(TrainingError, match="makes a new encoder"):
        Texts(encoder="package:x/model", store="reference", compact=True)
