"""Doing what a block of the documentation says, in a folder that has what the pages take for granted."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from documentation import ROOT, Block, commands
from llem_sweep.cli.app import main
from llem_sweep.config.load import load_sweep
from llem_sweep.config.yaml_source import read_yaml_file
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.store.sweeps import sweeps_in

ELSEWHERE: dict[str, str] = {
    "llem-sweep grid.yaml --address auto": "on a Ray, by tests/integration/test_documented_commands.py",
    "llem-sweep doctor --calibrate": "45 s of load; in simulated time by tests/execution/test_doctor.py",
    "llem-sweep export results/grid_… --grid-intensity DEU": "the carbon extra; by tests/report/test_footprint.py",
    "pip install -c constraints.txt .": "installs",
}
"""Commands that aren't run with the rest of their block, and why."""
EXITS: dict[str, int] = {
    "llem-sweep grid.yaml --require-publishable": 1,
    "llem-sweep verify results/grid_… --require-publishable": 1,
}
"""Exit codes other than 0: what is simulated may never be published."""

_GRID = """\
model: acme/made-up-7b
backend: synthetic
synthetic: {run_seconds: 0.1}
dataset: {n: 4, input_len: 8, output_len: 8}
baseline: {enabled: false}
warmup: {enabled: false}
sweep:
  precision: [bf16, fp16]
"""
_SHORTER = {"sweeps/quickstart.yaml": ("dataset.n=4", "baseline.enabled=false")}
"""Overrides for files that take their time."""
_STORE = "s3://bucket/runs"
_ANY = "…"
"""Ends a name that a run has made up."""
_PLACE = re.compile(r"(?<=\")(results/[^\"]+|s3://bucket/runs[^\"]*)(?=\")")


class Stage:
    """A folder with a small ``grid.yaml`` and a finished sweep of it, which is the working directory.

    ``store`` is the URI that stands in for the bucket of the pages; it has a finished sweep when one is asked for.
    """

    def __init__(self, folder: Path, store: str, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self._store = store
        self._patch = patch
        self._names: dict[str, object] = {}
        for name in ("deploy", "sweeps"):
            (folder / name).symlink_to(ROOT / name)
        for name in ("mine", "small", "large"):
            shutil.copytree(ROOT / "sweeps" / "models" / "tiny-llama", folder / "models" / name)
        (folder / "prompts.jsonl").write_text('{"prompt": "What is a joule?"}\n')
        (folder / "grid.yaml").write_text(_GRID)
        (folder / "larger.yaml").write_text(_GRID.replace("[bf16, fp16]", "[bf16, fp16, fp32]"))
        (folder / "home").mkdir()
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "home"))
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        self._run("llem-sweep grid.yaml")

    def do(self, block: Block) -> None:
        """Do what ``block`` says; AssertionError when that can't be done."""
        file = block.marked("file")
        if file is not None:
            (self.folder / file).write_text(f"{block.text}\n")
        match block.language:
            case "sh":
                for command in commands(block):
                    if command not in ELSEWHERE:
                        self._run(command)
            case "yaml":
                self._plan(block.text)
            case "python":
                self._compute(block.text)
            case "text" | "json":
                pass
            case _:
                raise AssertionError(f"line {block.line}: a block of {block.language!r}")

    def _run(self, command: str) -> None:
        """On a simulated GPU and without Ray, whose start would take ten seconds each time."""
        program, *given = shlex.split(command)
        if program == "llem-sweep":
            if ">" in given:
                with Path(given.pop()).open("w") as output, redirect_stdout(output):
                    code = main(list(self._adapted(given[:-1])))
            else:
                code = main(list(self._adapted(given)))
        else:
            code = subprocess.run(["bash", "-euo", "pipefail", "-c", command], timeout=60).returncode
        assert code == EXITS.get(command, 0), f"{command}: exit code {code}"

    def _adapted(self, given: list[str]) -> Iterator[str]:
        words = [self._place(word) for word in given]
        yield from words
        begins = bool(words) and words[0].endswith(".yaml") and "--resume" not in words
        if (begins or words[:1] == ["doctor"]) and "--simulate-gpus" not in words:
            yield from ("--simulate-gpus", "1")
        if begins and not {"--inline", "--dry-run"} & set(words):
            yield "--inline"
        for override in _SHORTER.get(words[0], ()) if begins else ():
            yield from ("--set", override)

    def _place(self, word: str) -> str:
        """``word`` with the store of the test, and a finished sweep or experiment where it names one."""
        if word == _STORE:
            return self._store
        if word.startswith(_STORE):
            if not sweeps_in(self._store):
                self._run(f"llem-sweep grid.yaml --output {_STORE}")
            return max(sweeps_in(self._store))
        if not word.startswith("results/") or Path(word).exists():
            return word
        sweep, _, experiment = word.removeprefix("results/").partition("/")
        finished = [Path(each) for each in sweeps_in("results")]
        if sweep.endswith(_ANY):
            folder = max(each for each in finished if each.name.startswith(sweep.removesuffix(_ANY)))
        else:
            folder = Path("results", sweep)
            shutil.copytree(finished[0], folder)
        if experiment:
            (folder,) = folder.glob(f"*_{experiment.removesuffix(f'_{_ANY}').rpartition('_')[2]}_*")
        return str(folder)

    def _plan(self, text: str) -> None:
        """A sweep file, or a part of one, is loaded and planned, and leaves no point out."""
        path = self.folder / "part.yaml"
        path.write_text(text)
        root = read_yaml_file(path, [])
        fields = root.plain() if root is not None else {}
        if "model" not in {**fields, **fields.get("zip", {}), **fields.get("sweep", {})}:
            path.write_text(f"model: ./models/mine\n{text}")
        plan = plan_sweep(load_sweep(path))
        assert plan.experiments, text
        assert not plan.skipped, plan.skipped

    def _compute(self, text: str) -> None:
        """Blocks of a page share their names; ``folder`` is that of a finished sweep."""
        self._names.setdefault("folder", self._place("results/grid_…"))
        placed = _PLACE.sub(lambda match: self._place(match[0]), text)
        exec(compile(placed, "block", "exec"), self._names)
