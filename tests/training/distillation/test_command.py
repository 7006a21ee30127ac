"""`distill` from the command line: a student in a few words, resumed, and refused clearly."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from models import load_model
from models.checkpoint import steps_of
from models.sample import draw
from tests.training.data import NAMES
from tests.training.distillation.support import latent_teacher, pictures, teacher
from training.__main__ import main


def words(tmp_path: Path, method: str, *more: str) -> list[str]:
    """A command line, with data and a teacher where it says."""
    pictures(tmp_path)
    model = str(teacher(tmp_path, steps=1))
    given = ["--data", str(tmp_path / "data"), "--name", "student", "--out", str(tmp_path / "out")]
    return ["distill", method, model, *given, "--set", "train.batch_size=8", *more]


@pytest.mark.parametrize("method", ["guidance", "consistency"])
def test_a_student_is_distilled_stopped_and_resumed(tmp_path: Path, method: str) -> None:
    line = words(tmp_path, method, "--steps", "4", "--guidance-scale", "2")
    assert main([*line, "--until", "2"]) == 0
    assert main([*line, "--resume"]) == 0
    assert steps_of(tmp_path / "out" / "student") == [2, 4]
    manifest = load_model(tmp_path / "out" / "student").manifest
    assert manifest.distilled.guidance is not None
    assert manifest.distilled.guidance.scale == 2
    assert manifest.training["pictures_seen"] == 4 * 8
    assert manifest.training["data"]["sources"] == [{"name": "data", "weight": 1.0}]
    assert "paths" not in manifest.training["config"]["data"]


def test_a_student_that_knows_something_is_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = words(tmp_path, "consistency", "--steps", "1")
    assert main([*line, "--set", "train.learning_rate=0.01"]) == 0
    first = load_model(tmp_path / "out" / "student")
    line[line.index("student")] = "further"
    line += ["--init-from", str(tmp_path / "out" / "student")]
    still = ["train.learning_rate=0", "train.final_learning_rate=0"]
    assert main([*line, *(f"--set={value}" for value in still)]) == 0
    assert "begins from student@0000001" in capsys.readouterr().err
    further = load_model(tmp_path / "out" / "further")
    assert further.manifest.training["lineage"][0]["model"] == "student@0000001"
    assert further.manifest.training["teacher"]["model"].startswith("teacher@")
    known, new = (model.network.state_dict() for model in (first, further))
    assert all(torch.equal(new[name], value) for name, value in known.items())
    assert main([*line, "--steps", "2", "--resume"]) == 2
    assert "leave one out" in capsys.readouterr().err


def test_a_consistency_model_is_trained_on_with_a_critic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, "consistency", "--steps", "1")) == 0
    line = words(tmp_path, "adversarial", "--steps", "2")
    line[2] = str(tmp_path / "out" / "student")
    line[line.index("student")] = "finished"
    assert main([*line, "--until", "1"]) == 0
    assert main([*line, "--resume"]) == 0
    manifest = load_model(tmp_path / "out" / "finished").manifest
    assert manifest.step == 2
    assert [one["model"] for one in manifest.training["lineage"]] == ["student@0000001"]
    assert manifest.training["teacher"]["model"] == "student@0000001"
    assert manifest.distilled.samplers == ("consistency",)
    with pytest.raises(SystemExit):
        main([*line, "--guidance-scale", "2"])
    assert "unrecognized arguments: --guidance-scale 2" in capsys.readouterr().err


def test_pictures_of_a_class_that_the_teacher_lacks_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(tmp_path, "consistency", "--steps", "1")) == 0
    further = words(tmp_path, "consistency", "--steps", "1")
    further[further.index("student")] = "further"  # one with a lineage may see fewer classes
    assert main([*further, "--init-from", str(tmp_path / "out" / "student")]) == 0
    for name in (*NAMES, "Kite"):
        (tmp_path / "more" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "more" / name / "one.png")
    line = ["distill", "adversarial", str(tmp_path / "out" / "further"), "--name", "x"]
    line += ["--data", str(tmp_path / "more"), "--out", str(tmp_path / "out")]
    assert main(line) == 2
    assert "further@0000001 has no class for Kite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("consistency", []),
        ("consistency", ["--guidance-scale", "3", "--set", "distill.last_intervals=64"]),
        ("guidance", ["--guidance-scale", "3"]),
    ],
)
def test_another_distillation_does_not_go_on_with_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], method: str, more: list[str]
) -> None:
    line = words(tmp_path, "consistency", "--steps", "2")
    own = ["--guidance-scale", "3", "--set", "distill.last_intervals=32"]
    assert main([*line, *own, "--until", "1"]) == 0
    line[1] = method
    assert main([*line, *more, "--resume"]) == 2
    assert "was trained with distilled {'guidance_scale': 3.0" in capsys.readouterr().err
    line[1] = "consistency"
    # What is only drawn with may change.
    assert main([*line, *own, "--set", "distill.levels=[[], [1.5]]", "--resume"]) == 0


def test_a_configuration_file_says_what_the_command_line_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text("[train]\nsteps = 2\n[distill]\nlevels = [[], [1.5]]\n")
    assert main(words(tmp_path, "consistency", "--config", str(path))) == 0
    manifest = load_model(tmp_path / "out" / "student").manifest
    assert manifest.distilled.consistency is not None
    assert manifest.distilled.consistency.levels == ((), (1.5,))
    assert manifest.step == 2


def test_the_shipped_preset_is_whole(tmp_path: Path) -> None:
    path = Path(__file__).parents[3] / "configs" / "distill" / "fashion-mnist-2step.toml"
    few = ["--set", "train.steps=1", "--set", "train.snapshot_every=0"]
    assert main(words(tmp_path, "consistency", "--config", str(path), *few)) == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--until", "0"], "nothing to do until 0"),
        (["--guidance-scale", "21"], "guidance.scale 21.0 is not in 0 ... 20"),
        (["--set", "train.steps=0"], "train.steps = 0 is not in 1"),
        (["--set", "network.base=8"], "unknown section [network]; known: train, publish, distill"),
        (["--name", "No Name"], "cannot be a model's name"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert main(words(tmp_path, "consistency", *more)) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_model_of_latents_is_distilled_in_its_own_latents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mirrored: bool
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    latents, models = latent_teacher(tmp_path, mirrored=mirrored), tmp_path / "models"
    given = ["--data", str(tmp_path / "data"), "--out", str(models), "--set=train.batch_size=8"]
    first = ["distill", "consistency", str(latents), "--name", "few", *given, "--steps", "2"]
    assert main([*first, "--guidance-scale", "2", "--until", "1"]) == 0
    assert main([*first, "--guidance-scale", "2", "--resume"]) == 0
    critic = ["distill", "adversarial", str(models / "few"), "--name", "sharper", *given]
    assert main([*critic, "--steps", "1"]) == 0
    old, new = load_model(latents), load_model(models / "sharper")
    assert new.manifest.latent == old.manifest.latent
    assert new.manifest.picture_shape == (1, 8, 8)
    assert new.manifest.training["autoencoder"] == old.manifest.training["autoencoder"]
    assert new.manifest.training["config"]["data"]["flip"] is mirrored
    assert new.autoencoder is not None
    assert old.autoencoder is not None
    assert new.autoencoder.scale == old.autoencoder.scale
    drawn = draw(
        new.network,
        new.manifest.build_table("consistency", 2),
        seeds=torch.arange(3),
        labels=torch.arange(3),
        clip=False,
    )
    assert drawn.shape == (3, 4, 4, 4)
    assert new.autoencoder.decode(drawn).shape == (3, 1, 8, 8)
