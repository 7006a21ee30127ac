"""`images.edit` and `images.create_variation` of the `openai` package, unchanged."""

import base64
import io
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from PIL import Image

from tests.e2e.service import Service
from tests.e2e.test_beginnings import SIDE, file, left_half, levels


@pytest.fixture
def client(service: Service) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{service.url}/v1", api_key="any", max_retries=0) as opened:
        yield opened


def seen(data: Any) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data.b64_json)))).astype(int)


def with_holes(alpha: Any) -> bytes:
    """The picture, transparent where ``alpha`` is 0."""
    return file(np.stack([levels(), levels(), levels(), alpha], axis=2))


def test_transparent_places_of_a_mask_are_drawn_anew(client: openai.OpenAI) -> None:
    answer = client.images.edit(
        model="tiny",
        image=file(levels()),
        mask=with_holes(255 - left_half()),
        prompt="a circle",
        n=2,
        size="1024x1024",
        response_format="b64_json",
        extra_body={"seed": 5, "steps": 6},
    )
    assert answer.data is not None
    assert len(answer.data) == 2
    for image in answer.data:
        assert (seen(image)[:, :4] == levels()[:, :4]).all()
        assert (seen(image)[:, 4:] != levels()[:, 4:]).any()


def test_a_picture_s_own_holes_are_its_mask(client: openai.OpenAI, service: Service) -> None:
    answer = client.images.edit(
        image=("a.png", with_holes(255 - left_half())), prompt="square", extra_body={"seed": 5}
    )
    assert answer.data is not None
    (image,) = answer.data
    assert (seen(image)[:, :4] == levels()[:, :4]).all()
    assert image.url is not None
    png = Image.open(io.BytesIO(httpx.get(image.url).content))
    assert png.info["class"] == "Square"
    assert png.info["strength"] == "1.0"


def test_without_a_mask_the_whole_picture_is_begun_from(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"prompt": "circle", "extra_body": {"seed": 5, "strength": 0}}
    whole = client.images.edit(image=[file(levels())], **asked)
    assert whole.data is not None
    assert (seen(whole.data[0]) == levels()).all()


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")  # there, and still used
def test_variations_are_other_pictures_like_it(client: openai.OpenAI) -> None:
    answer = client.images.create_variation(
        image=file(levels()), n=3, response_format="b64_json", size="256x256"
    )
    assert answer.data is not None
    pictures = [seen(image) for image in answer.data]
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert all(picture.shape == (SIDE, SIDE) for picture in pictures)


def test_an_edit_can_be_streamed(client: openai.OpenAI) -> None:
    stream = client.images.edit(
        image=file(levels()),
        prompt="circle",
        stream=True,
        partial_images=2,
        extra_body={"steps": 9, "strength": 1},
    )
    assert [event.type for event in stream] == ["image_edit.partial_image"] * 2 + [
        "image_edit.completed"
    ]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"image": b"no picture"}, "image", "no PNG, JPEG or WebP"),
        ({"image": [file(levels()), file(levels())]}, "image", "2 pictures came; send one"),
        ({"mask": file(levels(9, 9))}, "mask", "send one of the same size"),
        ({"mask": file(levels())}, "mask", "nothing is left to draw"),
        ({"prompt": "a bicycle"}, "prompt", "names none of"),
        ({"n": 100}, "n", "above the most, 64"),
        ({"extra_body": {"strength": "much"}}, "strength", "not accepted"),
    ],
)
def test_what_cannot_be_is_said_in_its_envelope(
    client: openai.OpenAI, fields: dict[str, Any], param: str, says: str
) -> None:
    asked: dict[str, Any] = {"image": file(levels()), "prompt": "circle", **fields}
    with pytest.raises(openai.BadRequestError, match=says) as refused:
        client.images.edit(**asked)
    assert refused.value.param == param


def test_a_model_that_is_not_there_is_a_404(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.images.edit(image=file(levels()), prompt="circle", model="nobody")


def test_a_form_that_is_none_is_refused(service: Service) -> None:
    url = f"{service.url}/v1/images/variations"
    for answer in (
        httpx.post(url, json={"image": "a"}),
        httpx.post(
            url, content=b"--x", headers={"content-type": "multipart/form-data; boundary=x"}
        ),
        httpx.post(url, data={"image": "text"}),
    ):
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["type"] == "invalid_request_error"
