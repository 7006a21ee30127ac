"""Counter-based noise: the published known answers, and independence of everything else."""

import pytest
import torch

from models.noise import normal, philox

MASK = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (0, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        (MASK, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    ],
)
def test_philox_gives_the_known_answers(word: int, expected: list[int]) -> None:
    filled = torch.tensor([word])
    answer = philox((filled, filled, filled, filled), (filled, filled))
    assert [int(x) for x in answer] == expected


def test_philox_gives_the_known_answer_for_distinct_words() -> None:
    # Random123's third vector: the digits of pi.
    counter = [torch.tensor([w]) for w in (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344)]
    key = [torch.tensor([w]) for w in (0xA4093822, 0x299F31D0)]
    answer = philox((counter[0], counter[1], counter[2], counter[3]), (key[0], key[1]))
    assert [int(x) for x in answer] == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]


def test_a_rows_noise_depends_on_its_own_seed_and_index_alone() -> None:
    seeds = torch.tensor([7, 2**63 - 1, 7, 2**32 + 7])
    index = torch.tensor([0, 3, 5, 0])
    together = normal(seeds, index, (3, 5, 7))
    for i in range(4):
        alone = normal(seeds[i : i + 1], index[i : i + 1], (3, 5, 7))
        assert torch.equal(alone[0], together[i])
    assert len({tuple(row.flatten().tolist()) for row in together}) == 4


def test_noise_is_unit_normal() -> None:
    z = normal(torch.arange(64), torch.zeros(64, dtype=torch.int64), (3, 32, 32)).double()
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs((z**4).mean() - 3) < 0.1
    assert z.dtype == torch.float64
    assert torch.isfinite(z).all()


@pytest.mark.gpu
def test_noise_on_cuda_is_the_cpus_up_to_rounding() -> None:
    seeds, index = torch.arange(16), torch.arange(16)
    on_cpu = normal(seeds, index, (3, 32, 32))
    on_cuda = normal(seeds.cuda(), index.cuda(), (3, 32, 32)).cpu()
    torch.testing.assert_close(on_cuda, on_cpu, rtol=0, atol=1e-6)
