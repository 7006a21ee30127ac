"""Extractors: the networks that they say they are; files that are none are refused, and not run."""

import os
import pickle
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from training.errors import TrainingError
from training.judging.dinov2 import VisionTransformer
from training.judging.features import open_extractor
from training.judging.inception import InceptionV3

CPU = torch.device("cpu")
GREY = torch.randint(0, 256, (3, 1, 16, 16), generator=torch.Generator().manual_seed(0)).byte()


def test_efficientnet_sees_grey_as_rgb_and_transparent_as_white() -> None:
    extractor = open_extractor("efficientnet", device=CPU)
    features = extractor(GREY)
    assert features.shape == (3, 1280)
    assert torch.allclose(features, extractor(GREY.expand(-1, 3, -1, -1)))
    white = torch.full((1, 3, 16, 16), 255, dtype=torch.uint8)
    nothing = torch.cat([white // 3, torch.zeros(1, 1, 16, 16, dtype=torch.uint8)], 1)
    assert torch.allclose(extractor(nothing), extractor(white), atol=1e-5)


def test_inception_has_the_published_network_s_parameters(tmp_path: Path) -> None:
    network = InceptionV3()
    # torchvision's, which has 27,161,264, without its two classifiers.
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 - 2_049_000
    state = network.state_dict()
    assert state["Mixed_6c.branch7x7dbl_5.conv.weight"].shape == (192, 160, 1, 7)
    assert state["Mixed_7c.branch3x3dbl_3b.bn.running_mean"].shape == (384,)
    file = tmp_path / "inception.pth"
    torch.save({**state, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, file)
    features = open_extractor(f"inception={file}", device=CPU)(GREY[:1])
    assert features.shape == (1, 2048)


def test_dinov2_is_shaped_like_its_file(tmp_path: Path) -> None:
    small = VisionTransformer(width=384, depth=12, patch=14, places=37 * 37)
    assert sum(p.numel() for p in small.parameters()) == 22_056_576 - 384  # without mask_token
    tiny = VisionTransformer(width=64, depth=2, patch=14, places=37 * 37)
    file = tmp_path / "dinov2.safetensors"
    save_file({**tiny.state_dict(), "mask_token": torch.zeros(1, 64)}, file)
    extractor = open_extractor(f"dinov2={file}", device=CPU)
    assert extractor(GREY).shape == (3, 64)
    assert extractor.name == "DINOv2, 64 features of the class token, 2 blocks"


class Harm:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mknod, (str(self._path),)


def test_what_is_pickled_in_a_file_is_not_run(tmp_path: Path) -> None:
    file, harm = tmp_path / "weights.pth", tmp_path / "harm"
    file.write_bytes(pickle.dumps(Harm(harm), protocol=2))
    with pytest.raises(TrainingError, match="is damaged or holds more than weights"):
        open_extractor(f"inception={file}", device=CPU)
    torch.save({"a": Harm(harm)}, file)
    with pytest.raises(TrainingError, match="is damaged or holds more than weights"):
        open_extractor(f"dinov2={file}", device=CPU)
    assert not harm.exists()


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("vgg", "'vgg' is not one of classifier, efficientnet, inception=FILE, dinov2=FILE"),
        ("inception", "needs a file of weights, which no package holds"),
        ("inception=nowhere.pth", "nowhere.pth does not exist; give a file of weights"),
        ("inception=torn.pth", "torn.pth is damaged or holds more than weights"),
        ("dinov2=torn.safetensors", "torn.safetensors is damaged or holds more than weights"),
        ("inception=other.pth", "does not fit InceptionV3: Error"),
        ("dinov2=other.pth", "does not hold a DINOv2 network"),
        ("dinov2=list.pth", "does not hold tensors by name"),
    ],
)
def test_a_bad_extractor_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.zeros(1000)}, "other.pth")
    torch.save([torch.zeros(2)], "list.pth")
    whole = Path("other.pth").read_bytes()
    Path("torn.pth").write_bytes(whole[:-300])
    Path("torn.safetensors").write_bytes(whole[:100])
    with pytest.raises(TrainingError, match=message) as raised:
        open_extractor(wanted, device=CPU)
    assert "\n" not in str(raised.value)


def test_without_efficientnet_s_packages_one_line_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(TrainingError, match="needs efficientnet_lite_pytorch, which is not inst"):
        open_extractor("efficientnet", device=CPU)
