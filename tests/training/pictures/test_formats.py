"""What other programs write is read: each format is made by its own library."""

import csv
import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset
from PIL import Image

from models.manifest import Diffusion, Manifest
from models.unet import UNetConfig
from tests.training.data import write_idx
from tests.training.pictures.test_sources import EXPECTED, levels, load, png, write
from tests.training.run.test_saving import largest_file
from training.errors import TrainingError
from training.pictures.data import Pictures, load_alike
from training.pictures.mixture import Asked

NAMES = ["cat", "dog"]


def arrow() -> Any:
    """pyarrow, which is an extra: a test that writes tables is skipped without it."""
    pytest.importorskip("pyarrow.parquet")
    return pytest.importorskip("pyarrow")


def write_table(path: Path, rows: list[dict[str, Any]], *, names: Sequence[str] = NAMES) -> Path:
    pyarrow = arrow()
    table = pyarrow.Table.from_pylist(rows)
    if names:
        # Hugging Face's `datasets` leaves this beside a table, so that numbers keep their names.
        label = {"_type": "ClassLabel", "names": names}
        features = {"image": {"_type": "Image"}, "label": label}
        about = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": about})
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path, row_group_size=2)
    return path


def row(level: int, label: int | str | None, **more: object) -> dict[str, Any]:
    return {"image": {"bytes": png(level), "path": None}, "label": label, **more}


ROWS = [row(1, 0), row(2, 0), row(3, 1)]


def write_shards(folder: Path, samples: list[dict[str, Any]], *, each: int = 2) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pattern = str(folder / "%06d.tar")
    with webdataset.ShardWriter(pattern, maxcount=each, verbose=0) as shards:
        for index, sample in enumerate(samples):
            shards.write({"__key__": f"{index:04d}", **sample})
    return folder


SAMPLES = [
    {"png": png(1), "cls": "cat", "txt": "a cat"},
    {"png": png(2), "cls": "cat", "txt": "a white cat"},
    {"png": png(3), "cls": "dog", "txt": "a dog"},
]


def captions(data: Pictures) -> list[tuple[int, str]]:
    return [
        (int(image[0, 0, 0]), data.captions[label])
        for image, label in zip(data.images, data.labels, strict=True)
    ]


def metadata(rows: list[dict[str, object]], kind: str) -> dict[str, bytes]:
    if kind == "jsonl":
        return {"metadata.jsonl": "\n".join(map(json.dumps, rows)).encode()}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return {"metadata.csv": "\ufeff".encode() + text.getvalue().encode()}


LINES: list[dict[str, object]] = [
    {"file_name": "1.png", "label": "cat", "text": 'a "grey", cat'},
    {"file_name": "in/2.png", "label": "cat", "text": "a\nwhite cat"},
    {"file_name": "3.png", "label": "dog", "text": "ein Hündchen"},
]
PICTURES = {"1.png": png(1), "in/2.png": png(2), "3.png": png(3)}


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
@pytest.mark.parametrize("place", ["", "train/", "pets/train/"])
@pytest.mark.parametrize("zipped", [False, True])
def test_an_imagefolder_s_labels_and_captions_are_read_and_train_is_no_class(
    tmp_path: Path, kind: str, place: str, zipped: bool
) -> None:
    files = {f"{place}{name}": data for name, data in (PICTURES | metadata(LINES, kind)).items()}
    path = write(tmp_path, files, zipped=zipped)
    assert sorted(levels(load(path))) == EXPECTED
    told = load(path, caption="{label}: {text}")
    assert sorted(captions(told)) == [
        (1, 'cat: a "grey", cat'),
        (2, "cat: a\nwhite cat"),
        (3, "dog: ein Hündchen"),
    ]


def test_a_lone_train_folder_is_no_class(tmp_path: Path) -> None:
    data = load(write(tmp_path, {"train/1.png": png(1), "train/2.png": png(2)}))
    assert levels(data) == [(1, "-"), (2, "-")]
    assert load(tmp_path / "pictures", hold_out=0.5).held_out == 0.5


def test_splits_of_an_imagefolder_have_metadata_of_their_own(tmp_path: Path) -> None:
    files: dict[str, bytes] = {}
    for split, level in (("train", 1), ("test", 9)):
        lines: list[dict[str, object]] = [{"file_name": "x.png", "label": f"{split}ed"}]
        files |= {f"{split}/{name}": data for name, data in metadata(lines, "csv").items()}
        files[f"{split}/x.png"] = png(level)
    path = write(tmp_path, files)
    assert levels(load(path)) == [(1, "trained")]
    assert levels(load(path, split="test")) == [(9, "tested")]


def test_metadata_above_the_splits_speaks_of_both(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"file_name": "train/x.png", "label": "a"},
        {"file_name": "test/x.png", "label": "a"},
    ]
    files = {"train/x.png": png(1), "test/x.png": png(2), **metadata(lines, "jsonl")}
    path = write(tmp_path, files)
    assert levels(load(path)) == [(1, "a")]
    assert levels(load(path, split="test")) == [(2, "a")]


def test_captions_may_lie_beside_each_picture(tmp_path: Path) -> None:
    files = {"a.1.png": png(1), "a.1.txt": b" one\n", "b.png": png(2), "b.json": b'{"text": "two"}'}
    data = load(write(tmp_path, files), caption="{text}")
    assert captions(data) == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("name", ["pets.tar", "pets.tar.gz", "pets.tgz"])
def test_a_tar_of_class_folders_is_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with tarfile.open(path, "w:" if name.endswith(".tar") else "w:gz") as archive:
        archive.add(
            write(tmp_path, {"cat/1.png": png(1), "cat/2.png": png(2), "dog/3.png": png(3)}),
            arcname=".",
        )
    assert levels(load(path)) == EXPECTED


@pytest.mark.parametrize("packed", [False, True])
def test_a_huge_file_is_no_picture_but_may_speak_of_them(tmp_path: Path, packed: bool) -> None:
    path = write(tmp_path, {f"cat/{i}.png": png(i) for i in range(8)})
    large = 65 << 20
    with (path / "cat/huge.png").open("wb") as file:
        file.truncate(large)
    line = b'{"file_name": "cat/1.png", "notes": "' + bytes(large).replace(b"\0", b"y") + b'"}'
    (path / "metadata.jsonl").write_bytes(line)
    if packed:
        with tarfile.open(tmp_path / "pets.tar", "w") as archive:
            archive.add(path, arcname=".")
    data = load(tmp_path / "pets.tar" if packed else path)
    assert (len(data), data.unreadable) == (8, 1)
    assert data.rejects is not None
    assert f"huge.png: {large} bytes are over 67108864" in data.rejects.read_text()


def test_links_in_a_tar_are_the_files_that_they_lead_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, {"cat/1.png": png(1), "dog/3.png": png(3)})
    (path / "cat/2.png").hardlink_to(path / "cat/1.png")
    (path / "dog/4.png").symlink_to("../cat/1.png")
    (path / "dog/5.png").symlink_to("gone.png")
    with tarfile.open(tmp_path / "pets.tar", "w") as archive:
        archive.add(path, arcname=".")
    found = load(tmp_path / "pets.tar", quiet=False)
    assert levels(found) == [(1, "cat"), (1, "cat"), (3, "dog"), (1, "dog")]
    assert "1 links in" in (said := capsys.readouterr().err)
    assert "lead to no file in it and are passed over, for example dog/5.png" in said


def test_a_gzipped_tar_that_is_cut_off_is_said_and_one_that_finds_no_room_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "pets.tgz"
    noise = np.random.default_rng(0).integers(0, 255, (9, 32, 32), dtype=np.uint8)
    with tarfile.open(path, "w:gz") as archive:
        for index, pixels in enumerate(noise):
            file = io.BytesIO()
            Image.fromarray(pixels).save(file, "PNG")
            member = tarfile.TarInfo(f"cat/{index}.png")
            member.size = file.tell()
            archive.addfile(member, io.BytesIO(file.getvalue()))
    with (
        largest_file(4096),
        pytest.raises(TrainingError, match="cannot be unpacked in .*or set TMPDIR to a folder"),
    ):
        load(path)
    path.write_bytes(path.read_bytes()[:-1500])
    assert 7 <= len(load(path, quiet=False)) <= 8
    assert "is cut off: Compressed file ended" in capsys.readouterr().err


def test_webdataset_s_shards_are_read(tmp_path: Path) -> None:
    path = write_shards(tmp_path / "shards", SAMPLES)
    assert len(list(path.iterdir())) == 2
    assert levels(load(path)) == EXPECTED
    told = load(path, caption="{text}")
    assert captions(told) == [(1, "a cat"), (2, "a white cat"), (3, "a dog")]
    one = load(path / "000000.tar")
    assert levels(one) == EXPECTED[:2]


def test_shards_tell_their_split_by_name(tmp_path: Path) -> None:
    write_shards(tmp_path / "shards" / "train", SAMPLES)
    write_shards(tmp_path / "shards" / "val", [{"png": png(7), "json": {"label": "dog"}}])
    assert levels(load(tmp_path / "shards")) == EXPECTED
    test = load(tmp_path / "shards", split="test")
    assert levels(test) == [(7, "dog")]


def test_a_hugging_face_table_is_read_with_its_class_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(tmp_path / "data/train-00000-of-00002.parquet", ROWS[:2])
    write_table(tmp_path / "data/train-00001-of-00002.parquet", ROWS[2:])
    write_table(tmp_path / "data/test-00000-of-00001.parquet", [row(8, 1)])
    assert levels(load(tmp_path / "data")) == EXPECTED
    assert load(tmp_path / "data", split="test").labels.tolist() == [1]
    alone = write_table(tmp_path / "alone/test-00000-of-00001.parquet", ROWS).parent
    assert levels(load(alone)) == EXPECTED
    assert load(alone, hold_out=0.5).held_out == 0.5
    reordered = load(tmp_path / "data", class_names=("dog", "cat"))
    assert (levels(reordered), reordered.classes) == (EXPECTED, ("dog", "cat"))
    renamed = load(tmp_path / "data", class_names=("tabby", "hound"), quiet=False)
    assert levels(renamed)[0] == (1, "tabby")
    assert "calls its classes cat, dog ...; data.class_names calls them tabby, hound" in (
        capsys.readouterr().err
    )


def test_test_pictures_of_other_classes_are_other_pictures_in_the_cache_too(
    tmp_path: Path,
) -> None:
    files = {f"{part}/cat/{i}.png": png(10 + i) for part in ("train", "test") for i in range(4)}
    files |= {f"{part}/dog/{i}.png": png(90 + i) for part in ("train", "test") for i in range(4)}
    path = write(tmp_path, files)
    for name, least in (("cat", 10), ("dog", 90)):
        seen = load(path, split="test", known=(name,), extend=True)
        assert levels(seen) == [(least + i, name) for i in range(4)]


def test_a_table_s_own_names_are_what_its_numbers_mean_beside_classes_that_are_known(
    tmp_path: Path,
) -> None:
    pets = write_table(tmp_path / "pets.parquet", ROWS)
    wild = write_table(tmp_path / "wild.parquet", [row(4, 0), row(5, 1)], names=["panda", "bear"])
    assert levels(load(wild, known=("cat", "dog"), extend=True)) == [(4, "panda"), (5, "bear")]
    both = [Asked(pets), Asked(wild)]
    first = load(both)
    assert levels(first) == [*EXPECTED, (4, "panda"), (5, "bear")]
    again = load(both, known=first.classes, extend=True)
    assert (levels(again), again.classes) == (levels(first), first.classes)
    network = UNetConfig(
        channels=1,
        size=(4, 4),
        block_channels=(8,),
        blocks_per_level=1,
        attention_levels=(False,),
        norm_groups=8,
        num_class_embeds=4,
    )
    diffusion = Diffusion(schedule="cosine", timesteps=100, prediction="v")
    facts: dict[str, Any] = {"config": {"data": {"class_names": []}}}
    manifest = Manifest(
        name="x",
        step=1,
        network=network,
        diffusion=diffusion,
        classes=first.classes,
        training=facts,
    )
    assert levels(load_alike(both, manifest, split="train")) == levels(first)


def test_a_table_of_plain_bytes_has_captions_too(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"jpg": png(5), "text": "five"}, {"jpg": png(6), "text": None}]
    rows += [{"jpg": png(7 + i), "text": f"{i}"} for i in range(4)]
    path = write_table(tmp_path / "pictures.parquet", rows, names=())
    assert captions(load(path, caption="{text}"))[0] == (5, "five")
    assert load(path, caption="{text}").unreadable == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "x"}], r"no column of pictures' bytes.*text \(string\)"),
        ([{"a": b"x", "b": b"y"}], "or several of them"),
        ([{"image": {"bytes": None, "path": "cat.png"}}], "only a path .cat.png., not the picture"),
        ([{"image": {"bytes": None, "path": None}}], "the row has no picture|no column"),
    ],
)
def test_a_table_without_pictures_is_refused_with_what_it_has(
    tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    pyarrow = arrow()
    image = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    schema = pyarrow.schema([("image", image)]) if "image" in rows[0] else None
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema), tmp_path / "t.parquet")
    with pytest.raises(TrainingError, match=message):
        load(tmp_path / "t.parquet")


@pytest.mark.parametrize("kind", ["dictionary", "string_view"])
def test_labels_may_be_pandas_categories_and_other_columns_are_said_to_be_passed_over(
    tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pyarrow = arrow()
    table = pyarrow.table(
        {
            "image": [png(1), png(2), png(3)],
            "label": pyarrow.array(["cat", "cat", "dog"]),
            "boxes": [[1, 2], [], [3]],
        }
    )
    text = pyarrow.dictionary(pyarrow.int8(), pyarrow.string())
    kinds = {"dictionary": text, "string_view": pyarrow.string_view()}
    column = table["label"].cast(kinds[kind])
    pyarrow.parquet.write_table(table.set_column(1, "label", column), tmp_path / "t.parquet")
    assert levels(load(tmp_path / "t.parquet", quiet=False)) == EXPECTED
    assert "the columns boxes are neither text nor numbers" in capsys.readouterr().err


def test_a_torn_table_is_refused(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", ROWS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(TrainingError, match="no parquet file that can be read"):
        load(path)


def test_a_table_whose_words_are_damaged_is_refused(tmp_path: Path) -> None:
    pyarrow = arrow()
    table = pyarrow.Table.from_pylist([row(i, "cat") for i in range(3)])
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(table, path, compression="none", use_dictionary=False)
    data = path.read_bytes()
    assert data.count(b"cat") > 1
    path.write_bytes(data.replace(b"cat", b"c\xfft"))
    with pytest.raises(TrainingError, match="damaged where it says what its pictures are"):
        load(path)


@pytest.mark.parametrize("cut", [512, 1500, 2048])
def test_a_shard_that_is_cut_off_is_said_and_what_is_whole_is_used(
    tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = [{"png": png(level), "cls": "cat"} for level in range(9)]
    path = write_shards(tmp_path / "shards", samples, each=9) / "000000.tar"
    with tarfile.open(path) as archive:
        last = archive.getmembers()[-1]
    path.write_bytes(path.read_bytes()[: last.offset_data + 512 - cut])
    data = load(path, quiet=False)
    assert 7 <= len(data) <= 8
    said = capsys.readouterr().err
    assert "warning: " in said
    assert "is cut off after" in said


def test_a_shard_without_a_whole_file_is_refused(tmp_path: Path) -> None:
    path = write_shards(tmp_path / "shards", SAMPLES) / "000000.tar"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(TrainingError, match="is no tar that can be read"):
        load(path)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([2, "1", 0], ["2", "1", "0"]),  # numbers, also as text
        (["b", "a", "b"], ["b", "a", "b"]),
    ],
)
def test_labels_are_numbers_or_names(
    tmp_path: Path, labels: list[object], expected: list[str]
) -> None:
    lines: list[dict[str, object]] = [
        {"file_name": f"{i}.png", "label": label} for i, label in enumerate(labels)
    ]
    files = {f"{i}.png": png(i) for i in range(3)} | metadata(lines, "jsonl")
    assert [name for _, name in levels(load(write(tmp_path, files)))] == expected


@pytest.mark.parametrize("of", ["lines", "list", "idx"])
def test_numbers_without_names_are_no_known_class_s(tmp_path: Path, of: str) -> None:
    lines: list[dict[str, object]] = [{"file_name": f"{i}.png", "label": i} for i in range(2)]
    listed = {"dataset.json": b'{"labels": [["0.png", 0], ["1.png", 1]]}'}
    path = write(tmp_path, {f"{i}.png": png(i) for i in range(2)} | listed)
    if of == "lines":
        (path / "dataset.json").unlink()
        write(tmp_path, metadata(lines, "jsonl"))
    if of == "idx":
        path = write_idx(tmp_path / "idx")
    with pytest.raises(TrainingError, match=r"by number, 0 to .*name those of the data in data"):
        load(path, known=("cat", "dog", "bear"), extend=True)
    assert load(path, known=load(path).classes, extend=True).classes == load(path).classes
    names = ("panda", "dog", "fox")
    named = load(path, known=("cat", "dog"), class_names=names, extend=True)
    told = {named.classes[label] for label in named.labels}
    assert told == set(names[: 3 if of == "idx" else 2])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([1, "cat"], "label is a number for some pictures .1. and a name for others .'cat'."),
        ([1.5, 2], "the label 1.5 is neither a number nor a name"),
        ([True, False], "the label True is neither"),
        (["Cat", "cat"], "'Cat' and 'cat', which differ only in upper case"),
        ([10**9, 0], "has label 1000000000; at most 100000"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(
    tmp_path: Path, labels: list[object], message: str
) -> None:
    lines: list[dict[str, object]] = [
        {"file_name": f"{i}.png", "label": label} for i, label in enumerate(labels)
    ]
    files = {f"{i}.png": png(i) for i in range(2)} | metadata(lines, "jsonl")
    with pytest.raises(TrainingError, match=message):
        load(write(tmp_path, files))


def test_pictures_without_a_label_are_left_out_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row(level, None if level == 3 else level % 2) for level in range(10)]
    data = load(write_table(tmp_path / "t.parquet", rows), quiet=False)
    assert (len(data), data.unreadable) == (9, 1)
    report = capsys.readouterr().err.split("left out; ")[1].split(" names them")[0]
    assert Path(report).read_text() == "t.parquet[3]: it has no label, which others have\n"


def test_lines_of_pictures_that_are_not_there_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone: dict[str, object] = {"file_name": "gone.png", "label": "cat", "text": ""}
    lines = [*LINES, gone]
    load(write(tmp_path, PICTURES | metadata(lines, "csv")), quiet=False)
    said = capsys.readouterr().err
    assert "different things" not in said
    assert "metadata.csv speaks of 1 pictures that are not there, for example gone.png" in said


def test_lines_that_contradict_each_other_are_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    also: dict[str, object] = {"file_name": "1.png", "label": "dog", "style": "flat"}
    again: dict[str, object] = {"file_name": "3.png", "label": "dog", "style": "round"}
    only: dict[str, object] = {"file_name": "in/2.png", "label": "cat", "style": "flat"}
    files = PICTURES | metadata(LINES, "jsonl") | metadata([also, again, only], "csv")
    path = write(tmp_path, files)
    # What both say alike, or only one of them, is no contradiction.
    told = load(path, caption="{label} {style}", quiet=False)
    assert captions(told) == [(1, "cat flat"), (3, "dog round"), (2, "cat flat")]
    said = capsys.readouterr().err
    assert "1 pictures have several lines that say different things, of which the last" in said
    assert "1.png in metadata.jsonl" in said


def test_a_class_field_may_have_another_name(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"img": {"bytes": png(i)}, "fine_label": i % 2, "label": 0} for i in range(4)
    ]
    path = write_table(tmp_path / "t.parquet", rows, names=())
    assert load(path, label="fine_label").labels.tolist() == [0, 1, 0, 1]
    assert np.array_equal(load(path).labels, [0, 0, 0, 0])
