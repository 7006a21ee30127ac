"""The command `emaki`, as it is typed, against the shared service or a checkpoint."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Generator, Iterable
from pathlib import Path

import pytest
from PIL import Image
from typer import Exit
from typer.testing import CliRunner

import emaki
from emaki.asked import Fields
from emaki.bars import Bar
from emaki.command.drawing import Source, into_folder
from emaki.command.program import TRAINING, program
from emaki.pictures import Pictures
from tests.e2e.service import Service
from tests.support import eventually, free_port
from training.__main__ import build_parser
from wire.schemas import GenerationRequest

ROOT = Path(__file__).parents[2]
Typed = Callable[..., str]


@pytest.fixture
def typed(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """What `emaki WORDS` says in an empty folder; where it fails, in one line."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str, code: int = 0, url: str = service.url) -> str:
        answer = CliRunner().invoke(program, words, env={"EMAKI_URL": url, "COLUMNS": "200"})
        assert answer.exit_code == code, answer.output
        if not code:
            return answer.stdout.strip()
        (line,) = answer.stderr.splitlines()
        return line

    return run


_HEARS_CTRL_C = """
import runpy, signal
signal.signal(signal.SIGINT, signal.default_int_handler)
runpy.run_module("emaki", run_name="__main__", alter_sys=True)
"""


def started(*words: str, folder: Path, url: str) -> subprocess.Popen[str]:
    """The same as a process of its own, which Ctrl-C reaches also where the tests themselves are a
    shell's background job and never hear it.
    """
    return subprocess.Popen(
        [sys.executable, "-c", _HEARS_CTRL_C, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "EMAKI_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str], *, code: int) -> str:
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    (line,) = err.splitlines()
    return line


def metadata(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_draw_writes_a_picture_that_show_reads(typed: Typed, tmp_path: Path) -> None:
    (name,) = typed("draw", "squares", "--seed", "4", "--scale", "2").splitlines()
    assert name == "squares-4.png"
    assert size(tmp_path / name) == (16, 16)
    shown = json.loads(typed("show", name))
    assert (shown["class"], shown["seed"], shown["model"]) == ("Square", 4, "tiny@0000002")


def test_several_are_a_grid_and_a_strip_lies_beside_it(
    typed: Typed, service: Service, tmp_path: Path
) -> None:
    fields = ("--class", '["Circle", null]', "--seed", "1", "--strip", "3", "--steps", "2")
    there = typed("draw", "-n", "2", "--out", "a.png", *fields).split()
    tiny = str(service.checkpoints / "tiny")
    here = typed("draw", "-n", "2", "--out", "b.png", "--checkpoint", tiny, *fields).split()
    assert (there, here) == (["a.png", "a-strip.png"], ["b.png", "b-strip.png"])
    for one, other in zip(there, here, strict=True):
        assert size(tmp_path / one) == size(tmp_path / other)


def test_every_field_of_the_api_is_an_option(typed: Typed) -> None:
    text = typed("draw", "--help")
    names = {info.alias or name for name, info in GenerationRequest.model_fields.items()}
    options = {word.split()[0] for word in text.split("--")[1:]}
    assert {name.replace("_", "-") for name in names - {"batch"}} <= options


def test_a_folder_goes_on_where_ctrl_c_stopped_it(
    typed: Typed, service: Service, tmp_path: Path
) -> None:
    # More requests than are asked for at once, so that the last begin long after the first ended.
    words = ["draw", "Circle", "-n", "640", "--out", "many", "--steps", "2"]
    first = started(*words, folder=tmp_path, url=service.url)
    eventually((tmp_path / "many/000063.png").exists)
    first.send_signal(signal.SIGINT)
    line = ended(first, code=130)
    assert line.endswith("of 640 pictures are in many; the same command goes on")
    kept = len(metadata(tmp_path / "many"))
    assert 63 <= kept < 640
    with emaki.Client(service.url) as client:
        eventually(lambda: all(handle.status.finished for handle in client.list()))
    # A picture that is gone, and a line that was cut off, are drawn again.
    (tmp_path / "many/000007.png").unlink()
    with (tmp_path / "many/metadata.jsonl").open("a") as lines:
        lines.write('{"file_name": "0000')
    assert typed(*words) == "many: 640 pictures and metadata.jsonl"
    lines_ = metadata(tmp_path / "many")
    seeds = {str(line["file_name"]): line["seed"] for line in lines_}
    assert len(seeds) == len(lines_) == 640
    begin = seeds["000000.png"]
    assert isinstance(begin, int)
    assert all(seed == begin + int(Path(name).stem) for name, seed in seeds.items())
    assert all((tmp_path / "many" / name).is_file() for name in seeds)
    assert {line["label"] for line in lines_} == {"Circle"}
    assert typed(*words) == "many: 640 pictures and metadata.jsonl"
    other = typed("draw", "Square", "-n", "640", "--out", "many", code=2)
    assert "many holds pictures with class 'Circle', not 'Square'" in other


def test_a_full_disk_is_one_line_and_what_was_drawn_is_there(
    typed: Typed, service: Service, tmp_path: Path
) -> None:
    words = ("draw", "-n", "80", "--out", "f", "--steps", "1")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # metadata.jsonl grows beyond that
    try:
        process = started(*words, folder=tmp_path, url=service.url)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    line = ended(process, code=2)
    assert "File too large" in line
    assert "of 80 pictures are in f; the same command goes on" in line
    kept = len(list((tmp_path / "f").glob("*.png")))
    assert 0 < kept < 80
    assert typed(*words) == "f: 80 pictures and metadata.jsonl"
    assert len({line["file_name"] for line in metadata(tmp_path / "f")}) == 80


def test_a_service_that_goes_away_midway_is_one_line(
    service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def draw_parts(requests: Iterable[Fields], bar: Bar) -> Generator[Pictures, None, None]:
        with emaki.Client(service.url) as client:
            yield next(client.draw_parts(requests, bar))
        raise emaki.ServiceAway(service.url, "gone")

    folder = tmp_path / "half"
    with pytest.raises(Exit) as left:
        into_folder(Source(draw_parts, lambda _name: None), folder, {"steps": 1}, 70)
    assert left.value.exit_code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(f"64 of 70 pictures are in {folder}; the same command goes on")
    assert len(metadata(folder)) == 64


def test_a_folder_that_got_no_picture_yet_is_of_nothing(typed: Typed, tmp_path: Path) -> None:
    assert "did you mean" in typed("draw", "cicle", "-n", "2", "--out", "new", code=2)
    said = typed("draw", "Circle", "-n", "2", "--out", "new", "--steps", "1")
    assert said == "new: 2 pictures and metadata.jsonl"


def test_a_folder_of_other_files_is_left_alone(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/metadata.jsonl").write_text('{"file_name": "a.jpg"}\n')
    line = typed("draw", "--out", "mine", code=2)
    assert line.endswith("name another folder")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["metadata.jsonl"]
    assert metadata(tmp_path / "mine") == [{"file_name": "a.jpg"}]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("draw", "cicle"), "did you mean Circle"),
        (("draw", "--steps", "many"), "steps"),
        (("draw", "Circle", "--class", "Square"), "say it twice"),
        (("draw", "--checkpoint", "nowhere"), "no checkpoint is there"),
        (("show", "nothing.png"), "No such file"),
        (("show", "nobody"), "no model 'nobody'; it has tiny"),
        (("show", "0" * 32), "no generation"),
    ],
)
def test_what_a_person_can_mend_is_one_line(
    typed: Typed, words: tuple[str, ...], says: str
) -> None:
    line = typed(*words, code=2)
    assert line.startswith("error: ")
    assert says in line


def test_a_service_that_is_away_is_one_line(typed: Typed) -> None:
    line = typed("draw", url=f"http://127.0.0.1:{free_port()}", code=2)
    assert "start one with `emaki serve`" in line


def test_a_worker_runs_with_its_options_as_settings(service: Service, tmp_path: Path) -> None:
    words = ("worker", "--device", "cuda:99", "--checkpoints", str(service.checkpoints))
    line = ended(started(*words, folder=tmp_path, url=service.url), code=2)
    assert line.startswith("error: EMAKI_DEVICE=cuda:99")


def test_models_and_generations_are_shown(typed: Typed, service: Service) -> None:
    assert "tiny@0000002" in typed("models")
    with emaki.Client(service.url) as client:
        id_ = client.submit(steps=1).id
    assert json.loads(typed("show", id_))["id"] == id_
    assert json.loads(typed("show", "tiny"))["classes"][0] == "Circle"
    assert "no model" in typed("show", "photos-ema-0.05", code=2)


def test_training_is_all_there_and_found_by_its_presets(typed: Typed, tmp_path: Path) -> None:
    actions = build_parser()._actions
    known = next(set(a.choices) for a in actions if a.choices is not None)
    assert set(TRAINING) == known
    help_ = typed("publish", "--help")
    assert help_.startswith("usage: emaki publish")
    data = ("--data", str(tmp_path / "nothing"))
    for words in (("train", "mnist", *data), ("train", "--name", "mine", "mnist", *data)):
        assert "nothing" in typed(*words, code=2)


def test_the_shell_completes_commands() -> None:
    settings = {"COMP_WORDS": "emaki dr", "COMP_CWORD": "1", "_EMAKI_COMPLETE": "complete_bash"}
    code = "import sys; sys.argv[0] = 'emaki'; from emaki.command.program import main; main()"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.stdout.split() == ["draw"]
