"""Prompts become work: encoded apart, kept, cut where they are too long, failing alone."""

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from models.encoder import Encoded, TextError
from tests.companions import write_text_checkpoint
from tests.support import fresh_record, write_checkpoint
from tests.worker.engine.fake import pictures, run
from wire.record import Record
from worker.catalog import Catalog, Loaded
from worker.engine.engine import Engine
from worker.engine.precision import plan
from worker.engine.work import ImageDone, Work
from worker.orders import Order, Undrawable, as_work
from worker.words import Words

CPU = torch.device("cpu")


class Encoder:
    """Says which texts it was given, and in which thread."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.threads: set[str] = set()

    def encode(self, text: str) -> Encoded:
        self.texts.append(text)
        self.threads.add(threading.current_thread().name)
        if "\ud800" in text:
            raise TextError("half of a surrogate pair")
        return Encoded(torch.full((2, 3), float(len(text))), cut=len(text) > 5)


def test_the_same_words_are_encoded_once_and_apart_from_who_asks() -> None:
    encoder = Encoder()
    words = Words(encoder, lambda states: states)  # type: ignore[arg-type]
    first = words.conditions(["a", None, "a"], "b").result()
    again = words.conditions(["b", "too long"], None).result()
    assert encoder.texts == ["a", "b", "too long"]
    assert threading.current_thread().name not in encoder.threads
    assert first.each[1] is None
    assert torch.equal(first.each[0], torch.full((2, 3), 1.0))  # type: ignore[arg-type]
    assert first.negative is not None
    assert (first.cut, again.cut, again.negative) == ((), (1,), None)
    assert words.conditions([None], "far too long").result().cut == (-1,)


def test_what_the_network_makes_of_words_is_kept_with_them() -> None:
    heard = []

    def listen(states: torch.Tensor) -> torch.Tensor:
        heard.append(threading.current_thread().name)
        return 2 * states

    words = Words(Encoder(), listen)  # type: ignore[arg-type]
    each = words.conditions(["a", "a"], None).result().each
    assert torch.equal(each[0], torch.full((2, 3), 2.0))  # type: ignore[arg-type]
    assert len(heard) == 1
    assert heard[0] != threading.current_thread().name


def test_as_many_words_are_kept_as_memory_is_meant_for() -> None:
    encoder = Encoder()
    words = Words(encoder, lambda states: states)  # type: ignore[arg-type]
    words.conditions(["first", *(str(i) for i in range(256))], None).result()
    words.conditions(["255"], None).result()
    assert len(encoder.texts) == 257, "the latest of 256 are kept"
    words.conditions(["first"], None).result()
    assert encoder.texts[257:] == ["first"]


def test_an_encoder_that_fails_fails_who_asked_and_no_other() -> None:
    words = Words(Encoder(), lambda states: states)  # type: ignore[arg-type]
    bad, good = words.conditions(["\ud800"], None), words.conditions(["a"], None)
    with pytest.raises(TextError):
        bad.result()
    assert good.result().each[0] is not None


@pytest.fixture(scope="module", params=[False, True], ids=["pixels", "latents"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    root = tmp_path_factory.mktemp("checkpoints")
    write_text_checkpoint(root, latent=request.param)
    catalog = Catalog(root, device=CPU, plan=plan("balanced", device=CPU, cores=1))
    catalog.refresh()
    (card,) = catalog.cards()
    assert (card.conditioning, card.prompt_tokens) == ("text", 8)
    assert card.prompt_examples == ["a red square", "a blue square"]
    side = 16 if request.param else 8
    assert (card.width, card.height, card.channels, card.null_class) == (side, side, 3, True)
    found = catalog.find(card.version)
    assert isinstance(found, Loaded)
    return found


def asked_for(**fields: Any) -> Record:
    return fresh_record(model="words@0000001", classes=[None], class_names=[None], **fields)


def drawn(loaded: Loaded, **fields: Any) -> tuple[list[Any], list[str]]:
    one = asked_for(**fields)
    asked = as_work(one, loaded, Order(loaded.conditions(one.request)), id_="w")
    engine, pictures = Engine(plan("balanced", device=CPU, cores=1)), []
    engine.add(asked)
    while not engine.idle:
        pictures += [e.pixels.tolist() for e in engine.step() if isinstance(e, ImageDone)]
    return pictures, one.warnings


def test_other_words_draw_another_picture(loaded: Loaded) -> None:
    red, warnings = drawn(loaded, prompts=["a red square"], guidance_scale=3.0)
    blue, _ = drawn(loaded, prompts=["a blue square"], guidance_scale=3.0)
    away, _ = drawn(
        loaded, prompts=["a red square"], negative_prompt="a blue square", guidance_scale=3.0
    )
    assert warnings == []
    assert red != blue
    assert red != away
    assert drawn(loaded, prompts=["a red square"], guidance_scale=3.0)[0] == red


def test_words_latents_and_classes_share_an_engine_and_draw_what_each_draws_alone(
    tmp_path: Path,
) -> None:
    write_checkpoint(tmp_path)
    write_text_checkpoint(tmp_path)
    write_text_checkpoint(tmp_path, "latents", latent=True)
    chosen = plan("exact", device=CPU, cores=1)
    catalog = Catalog(tmp_path, device=CPU, plan=chosen)
    catalog.refresh()

    def asked(version: str, id_: str, **fields: Any) -> Work:
        loaded = catalog.find(version)
        assert isinstance(loaded, Loaded)
        named = {"classes": [None], "class_names": [None], **fields}
        one = fresh_record(model=version, guidance_scale=2.0, **named)
        return as_work(one, loaded, Order(loaded.conditions(one.request)), id_=id_)

    red: dict[str, Any] = {"prompts": ["a red square"], "negative_prompt": "grey"}
    works = [
        asked("words@0000001", "red", **red, seed=1, steps=9),
        asked("words@0000001", "blue", prompts=["a blue square on grey"], seed=2, steps=4),
        asked("latents@0000001", "latent red", **red, seed=1, steps=6),
        asked("latents@0000001", "latent blue", prompts=["blue"], seed=1, steps=9),
        asked("tiny@0000001", "class", classes=[1], class_names=["Square"], seed=1, steps=7),
    ]
    together = Engine(chosen)
    for work in works:  # each comes a step later than the one before
        together.add(work)
        events = together.step()
        assert not [event for event in events if isinstance(event, ImageDone)]
    drawn = pictures(run(together))
    for work in works:
        alone = Engine(chosen)
        alone.add(work)
        assert pictures(run(alone)) == {(work.id, 0): drawn[work.id, 0]}


def test_what_does_not_fit_is_left_out_and_said(loaded: Loaded) -> None:
    _, warnings = drawn(loaded, prompts=["a red square " * 3], negative_prompt="blue " * 9)
    assert len(warnings) == 2
    assert "the prompt of image 0 is longer than the 8 tokens that words@0000001" in warnings[0]
    assert warnings[1].startswith("the negative prompt is longer")


def test_words_that_cannot_be_encoded_fail_the_request(loaded: Loaded) -> None:
    one = asked_for(prompts=["a"])
    broken = Words(Encoder(), lambda states: states).conditions(["\ud800"], None)  # type: ignore[arg-type]
    with pytest.raises(Undrawable, match="half of a surrogate pair") as error:
        as_work(one, loaded, Order(broken), id_="w")
    assert error.value.info.code == "invalid_request"
