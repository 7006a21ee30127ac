"""The `openai` package, unchanged, against this service."""

import base64
import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import pytest
from PIL import Image

from tests.e2e.service import Service, running
from tests.support import eventually

LONG = {"prompt": "circle", "n": 32, "extra_body": {"steps": 1000}}


@pytest.fixture(scope="module")
def keyed(service: Service) -> Iterator[str]:
    with service.another_api(EMAKI_API_KEYS="sk-test") as url:
        yield url


@pytest.fixture
def client(keyed: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{keyed}/v1", api_key="sk-test", max_retries=0) as opened:
        yield opened


def size(data: str) -> tuple[int, int]:
    return Image.open(io.BytesIO(base64.b64decode(data))).size


def test_it_draws_what_the_prompt_names(client: openai.OpenAI, keyed: str) -> None:
    answer = client.images.generate(
        model="tiny",
        prompt="A photo of an ankle boot, please",
        n=2,
        size="1024x1024",
        quality="high",
        user="somebody",
        extra_body={"seed": 7, "steps": 4, "scale": 2},
    )
    assert answer.created > 1_700_000_000
    assert answer.data is not None
    assert len(answer.data) == 2
    for index, image in enumerate(answer.data):
        assert image.b64_json is not None
        assert image.url is not None
        assert size(image.b64_json) == (16, 16)
        fetched = httpx.get(image.url, headers={"Authorization": "Bearer sk-test"})
        assert fetched.content == base64.b64decode(image.b64_json)
        text = Image.open(io.BytesIO(fetched.content)).text  # type: ignore[attr-defined]
        assert text["class"] == "Ankle boot"
        assert text["seed"] == str(7 + index)


@pytest.mark.parametrize("form", ["url", "b64_json"])
def test_it_gives_the_form_that_was_asked_for(client: openai.OpenAI, form: str) -> None:
    answer = client.images.generate(prompt="circle", response_format=form)  # type: ignore[call-overload]
    image = answer.data[0]
    assert (image.url is None, image.b64_json is None) == (form != "url", form != "b64_json")


def test_it_streams_partial_images(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        prompt="Circle", stream=True, partial_images=2, extra_body={"steps": 30}
    )
    events = list(stream)
    assert [event.type for event in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    assert [getattr(event, "partial_image_index", None) for event in events] == [0, 1, None]
    assert all(size(event.b64_json) == (8, 8) for event in events)


def test_a_closed_stream_cancels_the_generation(client: openai.OpenAI) -> None:
    stream = client.images.generate(
        prompt="Circle", stream=True, partial_images=3, n=32, extra_body={"steps": 1000}
    )
    assert next(iter(stream)).type == "image_generation.partial_image"
    stream.close()
    eventually(lambda: newest(client)["status"] == "canceled", what="the cancel", seconds=15)


def newest(client: openai.OpenAI) -> dict[str, str]:
    answer = httpx.get(
        f"{client.base_url}generations?limit=1", headers={"Authorization": "Bearer sk-test"}
    )
    entry: dict[str, str] = answer.json()["data"][0]
    return entry


def test_it_lists_models(client: openai.OpenAI) -> None:
    names = [model.id for model in client.models.list()]  # other tests bring others
    assert names[0] == "tiny"
    assert "plain" in names
    model = client.models.retrieve("tiny")
    assert (model.object, model.owned_by) == ("model", "emaki")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("unknown")


def test_errors_have_openais_form(client: openai.OpenAI, keyed: str) -> None:
    with pytest.raises(openai.BadRequestError) as wrong:
        client.images.generate(model="tiny", prompt="a unicorn")
    assert wrong.value.param == "prompt"
    assert wrong.value.type == "invalid_request_error"
    assert "Circle, Square, Ankle boot" in wrong.value.message
    with pytest.raises(openai.BadRequestError) as many:
        client.images.generate(model="tiny", prompt="circle", n=65)
    assert many.value.param == "n"
    with pytest.raises(openai.NotFoundError) as unknown:
        client.images.generate(model="dall-e-2", prompt="circle")
    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    stranger = openai.OpenAI(base_url=f"{keyed}/v1", api_key="sk-wrong", max_retries=0)
    with pytest.raises(openai.AuthenticationError) as refused, stranger:
        stranger.images.generate(prompt="circle")
    assert refused.value.code == "invalid_api_key"


def test_too_many_steps_are_refused_when_streaming_too(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="30000 is above this model's T, 1000"):
        client.images.generate(
            prompt="circle", stream=True, partial_images=1, extra_body={"steps": 30_000}
        )


def test_an_unconditional_model_ignores_the_prompt(client: openai.OpenAI) -> None:
    answer = client.images.generate(model="plain", prompt="whatever", extra_body={"steps": 2})
    assert answer.data is not None
    assert answer.data[0].b64_json


@pytest.fixture
def patient(keyed: str) -> Iterator[openai.OpenAI]:
    """The package as it comes: it asks twice more when told of a conflict or a server's error."""
    with openai.OpenAI(base_url=f"{keyed}/v1", api_key="sk-test") as opened:
        yield opened


def listed(client: openai.OpenAI) -> dict[str, dict[str, str]]:
    """The newest generations by their ids."""
    headers = {"Authorization": "Bearer sk-test"}
    answer = httpx.get(f"{client.base_url}generations?limit=100", headers=headers)
    return {generation["id"]: generation for generation in answer.json()["data"]}


def made(client: openai.OpenAI, ask: Callable[[], object]) -> list[str]:
    """How every generation ended that was made while an error came of asking."""
    before = listed(client)
    with pytest.raises(openai.APIError):
        ask()
    return [made["status"] for id_, made in listed(client).items() if id_ not in before]


def test_a_generation_that_failed_is_not_asked_for_again(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.start("tests.chaos.poisoned", POISON="raise")
        service.start("app", EMAKI_API_KEYS="sk-test")
        service.wait_until_ready()
        with openai.OpenAI(base_url=f"{service.url}/v1", api_key="sk-test") as patient:
            ends = made(patient, lambda: patient.images.generate(prompt="square"))
    assert ends == ["failed"]


def test_a_generation_that_is_canceled_is_not_asked_for_again(patient: openai.OpenAI) -> None:
    before = listed(patient)

    def cancel() -> None:
        (id_,) = eventually(lambda: listed(patient).keys() - before, what="the generation")
        url = f"{patient.base_url}generations/{id_}/cancel"
        assert httpx.post(url, headers={"Authorization": "Bearer sk-test"}).status_code == 200

    with ThreadPoolExecutor(1) as pool:
        canceled = pool.submit(cancel)
        ends = made(patient, lambda: patient.images.generate(**LONG))  # type: ignore[call-overload]
        canceled.result()
    assert ends == ["canceled"]


def test_one_that_takes_longer_than_the_client_waits_is_not_asked_for_again(
    patient: openai.OpenAI,
) -> None:
    ends = made(patient, lambda: patient.images.generate(**LONG, timeout=3))  # type: ignore[call-overload]
    assert len(ends) == 1
    eventually(lambda: newest(patient)["status"] == "canceled", what="the cancel")


def test_what_passes_is_asked_for_again(service: Service) -> None:
    """A limit has room a moment later: there the package shall try again."""
    with service.another_api(EMAKI_MAX_STORED="1") as url:
        answer = httpx.post(f"{url}/v1/images/generations", json={"prompt": "circle", "n": 2})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "storage_full")
    assert "x-should-retry" not in answer.headers
