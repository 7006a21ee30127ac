"""`emaki.load`, `emaki.Client` and `emaki.AsyncClient` against the shared service."""

import asyncio
import hashlib
import inspect
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from PIL import Image

import emaki
from emaki.client import calls
from emaki.client.events import Event
from tests.e2e.lossy import lossy_way
from tests.e2e.service import Service
from tests.support import eventually, free_port
from wire.schemas import Generation, Preview, Status
from worker.engine.precision import choose

LONG: dict[str, Any] = {"steps": 1000, "n": 48, "class_": "Circle"}  # some seconds of work


@pytest.fixture
def asking(service: Service) -> Iterator[emaki.Client]:
    with emaki.Client(service.url) as client:
        yield client


@pytest.fixture(scope="module")
def model(service: Service) -> emaki.Model:
    return emaki.load(service.checkpoints / "tiny", threads=1)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"class_": "squares", "n": 3, "sampler": "ddpm", "steps": 7},
        {"class_": ["Circle", None, 2], "n": 3, "scale": 3, "guidance_scale": 4},
        {"sampler": "ddim", "eta": 0.5, "class_": 1, "guidance_interval": [0.2, 0.8]},
    ],
)
def test_what_is_loaded_draws_the_pictures_of_the_service(
    asking: emaki.Client, model: emaki.Model, fields: dict[str, Any]
) -> None:
    here, there = model.draw(seed=5, **fields), asking.draw(seed=5, **fields)
    assert [p.parameters for p in here] == [p.parameters for p in there]
    for own, its in zip(here, there, strict=True):
        assert np.abs(np.asarray(own).astype(int) - np.asarray(its)).max() <= 1
        assert own.info == its.info
        if choose(device=torch.device("cpu")) == "exact":
            assert own.png_bytes == its.png_bytes


def test_what_begins_from_a_picture_is_the_same_here(
    asking: emaki.Client, model: emaki.Model
) -> None:
    first = model.draw("Circle", seed=1, steps=5)[0]
    mask = Image.new("L", first.size, 255)
    mask.paste(0, (0, 0, 4, 4))
    fields: dict[str, Any] = {"init_image": first, "strength": 0.5, "mask": mask, "steps": 8}
    (own,), (its,) = (where.draw("Square", seed=2, **fields) for where in (model, asking))
    assert np.abs(np.asarray(own).astype(int) - np.asarray(its)).max() <= 1
    assert own.info == its.info
    assert (np.asarray(own)[:4, :4] == np.asarray(first)[:4, :4]).all()
    assert (np.asarray(own) != np.asarray(first)).any()


def test_a_picture_says_what_draws_it_again(model: emaki.Model) -> None:
    drawn = model.draw(["Circle", "Ankle boot"], n=2, seed=8, steps=3, eta=0.25, sampler="ddim")
    again = model.draw(**drawn[1].parameters)
    assert again[0].png_bytes == drawn[1].png_bytes
    assert (again[0].seed, again[0].class_name) == (9, "Ankle boot")


def test_a_file_says_what_draws_it_again(model: emaki.Model, tmp_path: Path) -> None:
    asked = {"class_": "Circle", "guidance_scale": 3, "guidance_interval": [0.25, 0.5], "scale": 2}
    for fields in (asked, {"class_": None, "steps": 3}):
        (drawn,) = model.draw(seed=12, **fields)
        read = emaki.Picture.read(drawn.save_png(tmp_path / "drawn.png"))
        assert model.draw(**read.parameters)[0].png_bytes == drawn.png_bytes == read.png_bytes
    Image.new("L", (8, 8)).save(tmp_path / "other.png")
    with pytest.raises(emaki.CannotDraw, match="was it drawn by Emaki"):
        emaki.Picture.read(tmp_path / "other.png")


def test_previews_and_the_strip_are_had_from_what_is_loaded(model: emaki.Model) -> None:
    seen: list[tuple[int, int, tuple[int, int]]] = []
    drawn = model.draw(
        n=2,
        steps=4,
        strip=3,
        preview_every=2,
        on_preview=lambda index, step, image: seen.append((index, step, image.size)),
    )
    assert sorted(seen) == [(0, 2, (8, 8)), (1, 2, (8, 8))]
    assert drawn.strip is not None
    assert drawn.strip.size == (3 * 10 - 2, 2 * 10 - 2)


def test_a_drawing_that_is_broken_off_leaves_the_model_ready(model: emaki.Model) -> None:
    def stop(*_args: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.draw(n=5, steps=50, preview_every=1, on_preview=stop)
    assert len(model.draw(steps=1)) == 1


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"class_": "cicle"}, "did you mean Circle"),
        ({"steps": 0}, "steps: 0 is not accepted"),
        ({"colour": "red"}, "colour: unknown field; use one of model, seed"),
        ({"n": 0}, "0 pictures"),
        ({"n": 3, "class_": ["Circle"]}, "class lists 1 entries for 3 pictures"),
        ({"seed": 2**63 - 1, "n": 2}, "above"),
        ({"model": "tiny@77"}, "tiny@77"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_words(
    model: emaki.Model, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(emaki.CannotDraw) as caught:
        model.draw(**fields)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_is_nowhere_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(emaki.CannotDraw, match=r"no checkpoint is there.*fashion-mnist"):
        emaki.load(tmp_path / "nothing")


def test_more_pictures_than_a_request_may_have_are_several(asking: emaki.Client) -> None:
    drawn = asking.draw("Circle", n=70, seed=1000, steps=1)
    assert [picture.seed for picture in drawn] == list(range(1000, 1070))
    alone = asking.draw("Circle", seed=1069, steps=1)
    assert drawn[-1].png_bytes == alone[0].png_bytes or not is_exact()


def is_exact() -> bool:
    return choose(device=torch.device("cpu")) == "exact"


def test_a_handle_waits_and_has_everything(asking: emaki.Client, tmp_path: Path) -> None:
    handle = asking.submit("circle", n=2, seed=3, steps=4, strip=3, preview_every=2)
    seen = list(handle.events())
    assert (seen[0].name, seen[-1].name) == ("status", "done")
    assert any(isinstance(event.data, Preview) for event in seen)
    assert handle.status is Status.SUCCEEDED
    assert handle.wait(progress=True).status is Status.SUCCEEDED
    images = handle.images
    assert images.strip is not None
    entries = handle.generation.images
    digests = [hashlib.sha256(picture.png_bytes).hexdigest() for picture in images]
    assert digests == [entry.sha256 for entry in entries]
    assert [path.name for path in handle.save(tmp_path / "out")] == ["3.png", "4.png"]
    lines = (tmp_path / "out/metadata.jsonl").read_text().splitlines()
    assert json.loads(lines[1])["label"] == "Circle"
    assert asking.generation(handle.id).generation == handle.refresh()
    assert next(iter(asking.list())).id
    assert handle.id in {other.id for other in asking.list(status="succeeded")}
    handle.delete()
    with pytest.raises(emaki.Refused) as caught:
        handle.refresh()
    assert caught.value.status in (404, 410)


def test_pictures_of_a_name_that_is_taken_get_another(model: emaki.Model, tmp_path: Path) -> None:
    circles, squares = (model.draw(class_, n=2, seed=1, steps=1) for class_ in ("Circle", "Square"))
    names = [[path.name for path in p.save(tmp_path)] for p in (circles, squares, circles)]
    assert names == [["1.png", "2.png"], ["1-2.png", "2-2.png"], ["1.png", "2.png"]]
    lines = (tmp_path / "metadata.jsonl").read_text().splitlines()
    found = [(line["file_name"], line["label"]) for line in map(json.loads, lines)]
    assert found == [
        ("1.png", "Circle"),
        ("2.png", "Circle"),
        ("1-2.png", "Square"),
        ("2-2.png", "Square"),
    ]
    assert (tmp_path / "1-2.png").read_bytes() == squares[0].png_bytes


def test_each_of_many_variations_is_drawn_again_from_its_own_parameters(
    model: emaki.Model, asking: emaki.Client
) -> None:
    fields: dict[str, Any] = {"variation_seed": 9, "variation_strength": 0.5, "steps": 1}
    for draw in (model.draw, asking.draw):
        many = draw("Circle", n=66, seed=3, **fields)
        for index in (0, 2, 65):
            again = draw(**many[index].parameters)
            assert again[0].png_bytes == many[index].png_bytes


def test_what_is_gone_already_need_not_be_removed() -> None:
    def answer(status: int, **body: Any) -> httpx.Response:
        request = httpx.Request("DELETE", "http://x/v1/generations/1")
        return httpx.Response(status, json=body, request=request)

    for status in (404, 410):
        with calls.gone_is_fine():
            calls.check(answer(status))
    for errors in (None, ["x"], [{"field": 1}], "x"):  # not as Emaki says it
        with pytest.raises(emaki.Refused) as caught, calls.gone_is_fine():
            calls.check(answer(409, errors=errors))
        assert caught.value.errors == []


def test_cancel_stops_and_is_said(asking: emaki.Client) -> None:
    handle = asking.submit(**LONG)
    assert handle.cancel().status is Status.CANCELED
    assert handle.cancel().status is Status.CANCELED
    with pytest.raises(emaki.Unfinished, match="was canceled"):
        _ = handle.images


def test_a_lost_answer_to_a_submit_draws_once(service: Service) -> None:
    with lossy_way(service.url) as way, emaki.Client(way.url) as client:
        way.lose_answer_to(b"POST /v1/generations")
        handle = client.submit(seed=424242, steps=1)
        assert way.lost == 1
        handle.wait()
        same = [h for h in client.list() if h.generation.request.seed == 424242]
        assert [h.id for h in same] == [handle.id]


def test_events_go_on_where_a_connection_broke(service: Service) -> None:
    with lossy_way(service.url) as way, emaki.Client(way.url) as client:
        handle = client.submit(n=4, steps=120, preview_every=20)
        seen: list[Event] = []
        for event in handle.events():
            seen.append(event)
            if len(seen) in (2, 6):
                way.cut()
        assert seen[-1].name == "done"
        whole = list(handle.events())
        assert [event.id for event in seen[1:]] == [event.id for event in whole[1:]]
        after = list(handle.events(after=seen[-2].id))
        assert [event.name for event in after] == ["done"]
        assert list(handle.events(after=seen[-1].id)) == []


def test_errors_are_one_line_each(service: Service, asking: emaki.Client) -> None:
    with pytest.raises(emaki.Refused) as caught:
        asking.draw("cicle")
    assert (caught.value.code, caught.value.errors[0].field) == ("invalid_request", "class")
    assert "did you mean Circle" in str(caught.value)
    with (
        emaki.Client(f"http://127.0.0.1:{free_port()}", retries=0) as nobody,
        pytest.raises(emaki.ServiceAway, match="emaki serve"),
    ):
        nobody.models()
    with (
        service.another_api(EMAKI_API_KEYS="right") as url,
        emaki.Client(url, "wrong") as wrong,
        emaki.Client(url, "right") as right,
    ):
        with pytest.raises(emaki.Refused, match="not known"):
            wrong.draw()
        assert len(right.draw(steps=1)) == 1


def test_what_breaks_a_drawing_leaves_nothing_running(asking: emaki.Client) -> None:
    parts = asking.draw_parts([{"steps": 1}, {"steps": 1000, "batch": 48}], _silent())
    next(parts)
    parts.close()

    def canceled() -> bool:
        newest = next(iter(asking.list()))
        return newest.generation.request.steps == 1000 and newest.status is Status.CANCELED

    eventually(canceled)


def _silent() -> Any:
    from emaki.bars import Bar

    return Bar("", 1, shown=False)


def test_the_same_with_await(service: Service, tmp_path: Path) -> None:
    async def use() -> None:
        async with emaki.AsyncClient(service.url) as client:
            assert (await client.models())[0].id == "tiny"
            drawn = await client.draw("square", n=66, seed=70, steps=1)
            assert [picture.seed for picture in drawn] == list(range(70, 136))
            handle = await client.submit("Circle", n=2, seed=3, steps=4, strip=2)
            names = [event.name async for event in handle.events()]
            assert names[-1] == "done"
            assert (await handle.wait()).status is Status.SUCCEEDED
            assert len(await handle.images()) == 2
            await handle.save(tmp_path)
            listed = [h.id async for h in client.list(status=Status.SUCCEEDED)]
            assert handle.id in listed
            assert (await client.generation(handle.id)).id == handle.id
            long = await client.submit(**LONG)
            assert (await long.cancel()).status is Status.CANCELED
            with pytest.raises(emaki.Unfinished):
                await long.images()
            await handle.delete()
            with pytest.raises(emaki.Refused):
                await handle.refresh()

    asyncio.run(use())
    assert (tmp_path / "3.png").exists()


@pytest.mark.parametrize(
    ("blocking", "awaited"),
    [(emaki.Client, emaki.AsyncClient), (emaki.Handle, emaki.AsyncHandle)],
)
def test_both_forms_take_the_same(blocking: type, awaited: type) -> None:
    def methods(kind: type) -> dict[str, list[str]]:
        return {
            name: [str(p).partition(":")[0] for p in inspect.signature(member).parameters.values()]
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("__") or name == "__init__"
        }

    found = methods(awaited)
    if awaited is emaki.AsyncHandle:  # a property where nothing is awaited
        assert found.pop("images") == ["self"]
    assert methods(blocking) == found


def test_a_client_needs_no_torch_and_nothing_is_imported_early() -> None:
    code = (
        "import sys, emaki; assert not {'httpx', 'torch', 'PIL', 'pydantic'} & set(sys.modules); "
        "emaki.Client, emaki.AsyncClient, emaki.Pictures; "
        "print({'torch', 'numpy', 'fastapi', 'redis'} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert answer.stdout == "set()\n", answer.stderr


def test_pictures_show_themselves_in_a_notebook(model: emaki.Model) -> None:
    drawn = model.draw(n=5, steps=1)
    assert isinstance(drawn[0], Image.Image)
    shown = Image.open(io.BytesIO(drawn._repr_png_() or b""))
    assert shown.size == (28 * 14, 18 * 14)
    assert Image.open(io.BytesIO(drawn[0]._repr_png_())).size == (112, 112)
    assert isinstance(drawn[1:3], emaki.Pictures)


def test_a_service_that_is_no_emaki_is_said_in_words(service: Service) -> None:
    with emaki.Client(f"{service.url}/static") as client, pytest.raises(emaki.Refused):
        client.models()


def test_the_wire_s_model_knows_every_field_of_a_list(
    service: Service, asking: emaki.Client
) -> None:
    asking.draw(steps=1)
    answer = httpx.get(f"{service.url}/v1/generations")
    assert Generation.model_fields.keys() >= set(answer.json()["data"][0])
