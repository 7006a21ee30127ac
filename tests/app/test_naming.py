"""Spellings of a class's name."""

import pytest

from app.naming import find, may_mention, mentions

CLOTHES = ("T-shirt/top", "Trouser", "Dress", "Sneaker", "Ankle boot", "Bag", "Pony", "Glasses")


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("Sneaker", "Sneaker"),
        ("sneakers", "Sneaker"),
        (" SNEAKER ", "Sneaker"),
        ("trousers", "Trouser"),
        ("dresses", "Dress"),
        ("ankle-boots", "Ankle boot"),
        ("AnkleBoot", "Ankle boot"),
        ("t shirt/top", "T-shirt/top"),
        ("ponies", "Pony"),
        ("glasses", "Glasses"),
        ("glass", "Glasses"),
        ("sneak", None),
        ("boots", None),
        ("dre", None),
        ("", None),
        ("s", None),
    ],
)
def test_case_plural_and_hyphen_do_not_matter(wanted: str, name: str | None) -> None:
    place = find(wanted, CLOTHES)
    assert (None if place is None else CLOTHES[place]) == name


def test_the_name_itself_comes_first_and_two_are_not_guessed_between() -> None:
    assert find("bags", ("bag", "bags")) == 1
    assert find("BAGS", ("bag", "bags")) == 1
    assert find("b-ag", ("bag", "bags")) is None
    assert find("a", ("A", "a")) == 1


@pytest.mark.parametrize(
    ("text", "name", "yes"),
    [
        ("a photo of sneakers", "Sneaker", True),
        ("two Ankle-Boots, please", "Ankle boot", True),
        ("three dresses", "Dress", True),
        ("a herd of ponies", "Pony", True),
        ("one trouser", "Trousers", True),
        ("sneakerhead", "Sneaker", False),
        ("Dr. Who", "Dress", False),
        ("baggage", "Bag", False),
        ("a (c++) thing", "C++", True),
    ],
)
def test_a_text_mentions_a_name_as_words(text: str, name: str, *, yes: bool) -> None:
    assert mentions(text, name) is yes
    assert may_mention(text, name) or not yes
