"""After the worker's start, no request pays for what libraries import when they are first used."""

import json
import subprocess
import sys
from pathlib import Path

from tests.support import write_checkpoint

# In a process of its own: here, other tests have imported everything.
FIRST_AND_SECOND = """
import json, sys
from pathlib import Path
import torch
from worker.catalog import Catalog, Loaded
from worker.engine.engine import Engine
from worker.engine.precision import plan
from worker.warm import draw_one

cpu = torch.device("cpu")
chosen = plan("exact", device=cpu, cores=1)
catalog = Catalog(Path(sys.argv[1]), device=cpu, plan=chosen)
catalog.refresh()
loaded = catalog.find(catalog.cards()[0].version)
assert isinstance(loaded, Loaded)
engine, imported = Engine(chosen), []
for _ in range(2):
    before = set(sys.modules)
    draw_one(engine, loaded)
    imported.append(sorted(set(sys.modules) - before))
compilers = [name for name in ("torch._dynamo", "torch._inductor") if name in sys.modules]
print(json.dumps([*imported, compilers]))
"""


def test_only_the_first_picture_imports_anything(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    answer = subprocess.run(
        [sys.executable, "-c", FIRST_AND_SECOND, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, compilers = json.loads(answer.stdout)
    assert "PIL.JpegImagePlugin" in first, "Pillow's formats, where one is asked for"
    assert second == []
    assert compilers == [], "a second of every start, for nothing"
