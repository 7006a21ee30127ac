"""Several data sets as one: their classes together, each shown as often as its weight says."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tests.training.pictures.test_sources import levels, load, png, write
from training.errors import TrainingError
from training.pictures.mixture import Asked
from training.run.loader import EpochOrder


def write_two(root: Path) -> list[Asked]:
    pets = write(root / "a", {"cat/1.png": png(1), "dog/2.png": png(2)})
    more = write(root / "b", {"bird/3.png": png(3), "dog/4.png": png(4)})
    return [Asked(pets), Asked(more, 3.0)]


def test_the_classes_of_all_data_sets_are_one_table(tmp_path: Path) -> None:
    data = load(write_two(tmp_path))
    assert data.classes == ("bird", "cat", "dog")
    assert levels(data) == [(1, "cat"), (2, "dog"), (3, "bird"), (4, "dog")]
    assert data.weights is not None
    assert data.weights.tolist() == [1, 1, 3, 3]


def test_data_without_classes_beside_data_with_is_refused(tmp_path: Path) -> None:
    plain = write(tmp_path / "c", {"5.png": png(5)})
    with pytest.raises(TrainingError, match="has none: put its pictures into a folder"):
        load([*write_two(tmp_path), Asked(plain)])


def test_only_what_has_no_split_of_its_own_is_held_out_from(tmp_path: Path) -> None:
    own = write(tmp_path / "own", {"train/cat/1.png": png(250), "test/cat/2.png": png(251)})
    rest = write(tmp_path / "rest", {f"cat/{i}.png": png(i) for i in range(200)})
    both = [Asked(own), Asked(rest)]
    train = load(both, hold_out=0.2)
    test = load(both, split="test", hold_out=0.2)
    assert len(train) + len(test) == 202
    assert 20 < len(test) < 60
    shown = {level for level, _ in levels(test)}
    assert 251 in shown
    assert 250 not in shown
    assert levels(load(both, split="test", hold_out=0)) == [(251, "cat")]


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [("photos", "photos", 1), ("a/photos=0.1234567", "a/photos", 0.1234567), ("a=b", "a=b", 1)],
)
def test_a_weight_stands_behind_the_path(text: str, path: str, weight: float) -> None:
    asked = Asked(Path(path), weight)
    assert Asked.parse(text) == asked
    assert Asked.parse(str(asked)) == asked


def test_a_data_set_is_called_by_its_own_name_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos/cat").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "photos/cat")
    paths = ("/data/photos", "..", "../..", ".", "/a/train.tar.gz")
    names = ["photos", "photos", tmp_path.name, "cat", "train.tar.gz"]
    assert [Asked(Path(path)).name for path in paths] == names


def test_a_weight_that_cannot_be_is_refused() -> None:
    with pytest.raises(TrainingError, match="the weight 0 is not in 0"):
        Asked.parse("photos=0")


def test_an_epoch_shows_each_picture_as_often_as_its_weight_says() -> None:
    weights = np.array([1.0] * 10 + [2.5] * 4 + [0.5] * 6)
    order = EpochOrder(20, 0, weights)
    epoch = 10 + 2 * 4 + 2 + 3
    shown = [int(i) for i in order.batch(0, 20 * epoch)]
    counts = Counter(shown)
    assert {counts[i] for i in range(10)} == {20}
    assert sum(counts[i] for i in range(10, 14)) == 20 * 10
    assert all(40 <= counts[i] <= 60 for i in range(10, 14))
    assert sum(counts[i] for i in range(14, 20)) == 20 * 3
    assert len(set(shown[:epoch])) < epoch  # some twice in the first epoch already
