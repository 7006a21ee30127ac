"""`benchmarks.held_out` on features whose neighbours can be told by hand."""

import torch

from benchmarks.held_out import ranks


def test_a_rank_counts_nearer_references_of_other_captions() -> None:
    references = torch.tensor([[0.0], [10.0], [4.0], [20.0]])
    of = torch.tensor([0, 0, 1, 2])  # the first caption has two pictures; its nearest one counts
    drawn = torch.tensor([[9.0], [0.5], [11.0]])
    assert ranks(drawn, references, of).tolist() == [0, 1, 2]
