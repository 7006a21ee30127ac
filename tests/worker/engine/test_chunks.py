"""Cutting a step's places: every place once, even shares, as little filled up as pays."""

from hypothesis import given
from hypothesis import strategies as st

from worker.engine.chunks import cut

SIZES = st.sets(st.sampled_from([1, 2, 4, 8, 16]), min_size=1).map(lambda some: tuple(sorted(some)))


@given(places=st.integers(1, 80), sizes=SIZES, cores=st.integers(1, 9))
def test_every_place_is_computed_once_and_chunks_have_the_sizes_given(
    places: int, sizes: tuple[int, ...], cores: int
) -> None:
    pieces = cut(places, sizes, cores)
    assert pieces.slots[pieces.where].tolist() == list(range(places))
    assert len(set(pieces.where.tolist())) == places
    assert len(pieces.slots) == pieces.computed
    assert {size for share in pieces.shares for size in share} <= set(sizes)
    assert len(pieces.shares) <= cores
    assert all(share for share in pieces.shares)


@given(places=st.integers(1, 80), sizes=SIZES, cores=st.integers(1, 9))
def test_shares_differ_by_the_smallest_size_at_most(
    places: int, sizes: tuple[int, ...], cores: int
) -> None:
    filled = cut(places, sizes, cores).filled
    assert max(filled) - min(filled[:-1], default=max(filled)) <= sizes[0]


def test_a_chunk_is_filled_up_only_where_two_would_cost_more() -> None:
    assert cut(7, (1, 2, 4, 8), 1).shares == ((8,),)
    assert cut(6, (1, 2, 4, 8), 1).shares == ((4, 2),)
    assert cut(2, (1, 2, 4, 8), 2).shares == ((1,), (1,))
    assert cut(5, (4,), 2).shares == ((4,), (4,))
