"""A token must never be published with the results: it is planted wherever one may come from, then looked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pyarrow.parquet as pq
import pytest

from llem_sweep import ConfigError, load_sweep
from llem_sweep.redaction import REDACTED

HUB_TOKEN = "hf_" + "QwErTyUi" * 4
SECRETS = {
    "HF_TOKEN": HUB_TOKEN,
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "MY_MIRROR_PASSWORD": "correct-horse-battery-staple",
}
RAY_TOKEN = "0123456789abcdef-ray-token-in-a-file"
URL = "https://me:my-own-pass@mirror.example/acme/m"
EVERY = (*SECRETS.values(), RAY_TOKEN, "my-own-pass")

LEAKY = """
import os, sys
from pathlib import Path
from llem_sweep.backends.synthetic import SyntheticBackend
from llem_sweep.errors import BackendError

told = " ".join([os.environ[name] for name in SECRETS] + [Path.home().joinpath(".ray/auth_token").read_text()])
told += " " + URL

class LeakyBackend(SyntheticBackend):
    def load(self, config, context):
        print("planted", told, file=sys.stderr, flush=True)
        if config.precision == "fp16":
            try:
                raise RuntimeError("GET with Authorization: Bearer " + told)
            except RuntimeError as error:
                raise BackendError("401 for " + told) from error
        model = super().load(config, context)
        model.effective = lambda config: {"engine": "leaky", "said": told, told: [told]}
        return model
"""
GRID = f"""
# to run it: HF_TOKEN={HUB_TOKEN}
model: acme/made-up-7b
backend: leaky
n: 4
energy: {{backend: null}}
warmup: {{enabled: false}}
sweep: {{precision: [fp16, bf16]}}
"""


class Run(NamedTuple):
    folder: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A sweep of which one experiment fails and one completes, both full of secrets."""
    place = tmp_path_factory.mktemp("secrets")
    site, home, output = place / "site", place / "home", place / "results"
    metadata = site / "leaky-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: leaky\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[llem_sweep.backends]\nleaky = leaky:LeakyBackend\n")
    (site / "leaky.py").write_text(f"SECRETS, URL = {list(SECRETS)!r}, {URL!r}\n{LEAKY}")
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(RAY_TOKEN)
    (place / "grid.yaml").write_text(GRID)
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [
        sys.executable,
        "-m",
        "llem_sweep",
        "grid.yaml",
        "--inline",
        "--simulate-gpus",
        "1",
        "--verbose",
    ]
    with (place / "out").open("w") as out, (place / "err").open("w") as err:
        done = subprocess.run(
            [*command, "--output", str(output)],
            cwd=place,
            env=os.environ | SECRETS | {"HOME": str(home), "PYTHONPATH": paths},
            stdout=out,
            stderr=err,
            timeout=120,
            check=False,
        )
    assert done.returncode == 1, (place / "err").read_text()
    (folder,) = output.iterdir()
    return Run(folder, (place / "out").read_text(), (place / "err").read_text())


def test_no_file_of_the_folder_holds_a_secret(run: Run) -> None:
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert {"result.json", "failure.json", "journal.jsonl", "summary.csv"} <= {path.name for path in files}
    texts = {path: path.read_bytes().decode(errors="replace") for path in files}
    texts |= {
        path: f"{pq.read_table(path).to_pylist()} {pq.read_schema(path).metadata}"
        for path in files
        if path.suffix == ".parquet"
    }
    leaks = [(path.name, secret) for path, text in texts.items() for secret in EVERY if secret in text]
    assert leaks == []


def test_what_was_said_is_still_told(run: Run) -> None:
    (failure,) = (json.loads(path.read_text()) for path in run.folder.rglob("failure.json"))
    assert failure["message"].startswith(f"BackendError: 401 for {REDACTED}")
    assert "Authorization: Bearer" in failure["traceback"]
    assert f"planted {REDACTED}" in failure["log_tail"]
    (result,) = (json.loads(path.read_text()) for path in run.folder.rglob("result.json"))
    assert f"https://{REDACTED}@mirror.example/acme/m" in result["effective_config"]["backend"]["said"]


def test_nothing_printed_holds_a_secret(run: Run) -> None:
    ours = "\n".join(line for line in run.stderr.splitlines() if not line.startswith("planted "))
    assert "401 for" in ours
    assert [secret for secret in EVERY if secret in ours + run.stdout] == []


@pytest.mark.parametrize("place", ["shared", "sweep"])
def test_a_file_that_holds_a_credential_is_refused_without_repeating_it(tmp_path: Path, place: str) -> None:
    url = "https://me:my-own-pass@mirror.example/x"
    values = f"model: '{url}'" if place == "shared" else f"sweep: {{model: [acme/m, '{url}']}}"
    path = tmp_path / "grid.yaml"
    path.write_text(f"n: 4\nbackend: synthetic\n{values}\n")
    if place == "shared":
        with pytest.raises(ConfigError, match="looks like a credential") as caught:
            load_sweep(path)
        assert "my-own-pass" not in str(caught.value)
    else:
        from llem_sweep import plan_sweep

        (skipped,) = plan_sweep(load_sweep(path)).skipped
        assert "looks like a credential" in skipped.reason
        assert "my-own-pass" not in skipped.reason
