"""What a request begins from, as tensors: pictures and masks of pixels and of latents."""

import io
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from models.sample import to_uint8
from tests.worker.engine.fake import fake_weights
from wire.images import InputFiles
from worker.engine.weights import Weights
from worker.inputs import BadInput, begun


def file(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def weights(*, latent: bool = False) -> Weights:
    """Of 16x16 grey pictures, or of latents a fourth as large that are their means."""

    def encode(pictures: Tensor) -> Tensor:
        return F.avg_pool2d(pictures, 4)

    side = 4 if latent else 16
    forward = fake_weights().forward
    return Weights("fake@1", forward, (1, side, side), encode=encode if latent else None)


LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16)
MASK = np.zeros((16, 16), np.uint8)
MASK[:, 10:] = 255


def test_every_grey_level_comes_through() -> None:
    found = begun(InputFiles(file(LEVELS)), weights(), strength=0.5)
    assert found.known is not None
    assert (to_uint8(found.known.x_0)[0].numpy() == LEVELS).all()
    assert (found.known.kept, found.paste, found.known.begins) == (None, None, True)


def test_a_mask_keeps_what_is_black_and_strength_0_keeps_all() -> None:
    files = InputFiles(file(LEVELS), file(MASK))
    held = begun(files, weights(), strength=1.0).known
    assert held is not None
    assert held.kept is not None
    assert not held.begins
    assert (held.kept[0].numpy() == (MASK == 0)).all()
    whole = begun(files, weights(), strength=0.0).known
    assert whole is not None
    assert whole.kept is not None
    assert whole.kept.all()


def test_a_latent_is_kept_where_all_its_pixels_are_and_pixels_are_pasted_with_a_seam() -> None:
    found = begun(InputFiles(file(LEVELS), file(MASK)), weights(latent=True), strength=1.0)
    assert found.known is not None
    assert found.known.kept is not None
    assert found.known.x_0.shape == (1, 4, 4)
    assert found.known.kept[0].tolist() == [[True, True, False, False]] * 4
    assert found.paste is not None
    share = found.paste.share[..., 0]
    assert (share[:, 10:] == 0).all(), "what is drawn is drawn"
    assert (share[:, :3] == 1).all(), "what is eight pixels away is kept"
    assert (np.diff(share[0, 2:11]) < 0).all()
    picture = np.full((16, 16, 1), 99, np.uint8)
    pasted = found.paste.over(picture)[..., 0]
    assert (pasted[:, :3] == LEVELS[:, :3]).all()
    assert (pasted[:, 10:] == 99).all()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (InputFiles(b"no picture"), "cannot be decoded"),
        (InputFiles(file(LEVELS[:8])), "none that fake@1 could draw"),
        (InputFiles(file(np.stack([LEVELS] * 3, axis=2))), "none that fake@1 could draw"),
        (InputFiles(file(LEVELS), file(MASK[:8])), "another size"),
    ],
)
def test_what_does_not_fit_is_refused(files: InputFiles, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        begun(files, weights(), strength=0.5)


def test_it_is_the_same_bits_each_time() -> None:
    files = InputFiles(file(LEVELS), file(MASK))
    first, again = (begun(files, weights(latent=True), strength=0.5).known for _ in range(2))
    assert first is not None
    assert again is not None
    assert torch.equal(first.x_0, again.x_0)
