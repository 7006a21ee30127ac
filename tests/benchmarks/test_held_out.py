"""`benchmarks.held_out` on features whose neighbours can be told by hand."""

import numpy as np
import pytest
import torch

from benchmarks.held_out import pick_captions, ranks
from training.errors import TrainingError
from training.pictures.data import Pictures


def test_a_rank_counts_other_combinations_with_a_nearer_reference() -> None:
    references = torch.tensor([[0.0], [10.0], [4.0], [20.0]])
    of = torch.tensor([0, 0, 1, 2])  # the first has two pictures, and its nearest one counts
    drawn = torch.tensor([[9.0], [0.5], [11.0]])
    assert ranks(drawn, references, of).tolist() == [0, 1, 2]


def test_the_same_noun_and_tone_is_one_combination_in_either_style() -> None:
    captions = ("baby: dark, google", "a car, google", "baby: dark, twitter", "ear: light, google")
    nothing = np.zeros((4, 3, 1, 1), np.uint8)
    test = Pictures(nothing, np.arange(4), (), "", captions=captions)
    assert pick_captions(test, ": ", "^[^,]*", 100) == [[0, 2], [3]]
    with pytest.raises(TrainingError, match="no held-out caption says 'horse'"):
        pick_captions(test, "horse", "^[^,]*", 100)
