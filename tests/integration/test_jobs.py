"""A sweep as a Ray job, on a head as docs/clusters.md has it: with a token, its dashboard on localhost."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
import yaml

from llem_sweep import load_result

ROOT = Path(__file__).parents[2]
TOKEN = "0123456789abcdef" * 4
RUN_OR_RESUME = ROOT / "deploy" / "run-or-resume.sh"

pytestmark = [pytest.mark.integration, pytest.mark.long, pytest.mark.timeout(240)]


class Head(NamedTuple):
    """A running head: where its dashboard is, and the environment of those who know its token."""

    url: str
    environment: dict[str, str]

    def ray(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run Ray's command line as a user of the cluster would."""
        return subprocess.run(
            ["ray", *map(str, arguments)],
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )

    def submit(
        self, job: str, working_dir: Path, *command: object, wait: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Submit a job as the documentation says, under the name ``job``."""
        return self.ray(
            *("job", "submit", "--address", self.url, "--submission-id", job),
            *("--runtime-env", ROOT / "deploy" / "job.yaml", "--working-dir", working_dir),
            *(() if wait else ("--no-wait",)),
            *("--", *command),
        )

    def job(self, name: str) -> dict[str, Any]:
        """What Ray tells about a job."""
        found: dict[str, Any] = json.loads(ask(f"{self.url}/api/jobs/{name}", TOKEN))
        return found

    def logs(self, name: str) -> str:
        """What a job has printed."""
        printed: str = json.loads(ask(f"{self.url}/api/jobs/{name}/logs", TOKEN))["logs"]
        return printed

    def ended(self, name: str) -> str:
        """Wait for a job to end; how it ended. Ray's command line takes 5 s to notice."""
        deadline_s = time.monotonic() + 90
        while (status := self.job(name)["status"]) in ("PENDING", "RUNNING"):
            assert time.monotonic() < deadline_s, self.logs(name)
            time.sleep(0.1)
        return str(status)


def ask(url: str, token: str | None) -> str:
    """The answer of a dashboard."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urlopen(Request(url, headers=headers), timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def free_ports(count: int) -> list[int]:
    """Ports that nothing listens at now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for opened in sockets:
            opened.bind(("127.0.0.1", 0))
        return [opened.getsockname()[1] for opened in sockets]


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    """A head of two CPUs in a folder of its own, started by Ray's command line under ``deploy/ray.env``."""
    # Ray's sockets live here, and a socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="llem", dir="/tmp"))
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    scripts = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{scripts}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(folder / "token"),
    }
    environment.pop("RAY_ADDRESS", None)
    gcs, dashboard, agent, client = free_ports(4)
    start = (
        f"source {ROOT}/deploy/ray.env && exec ray start --head --block --port={gcs} --temp-dir={folder}/ray"
        f" --node-ip-address=127.0.0.1 --dashboard-host=127.0.0.1 --dashboard-port={dashboard}"
        f" --dashboard-agent-listen-port={agent} --ray-client-server-port={client}"
        " --min-worker-port=0 --max-worker-port=0 --num-cpus=2 --num-gpus=0"
    )
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            ["bash", "-c", start], env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder
        )
    found = Head(f"http://127.0.0.1:{dashboard}", environment)
    try:
        _wait_until_answering(found, process, folder / "log")
        yield found
    finally:
        process.terminate()
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_until_answering(head: Head, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline_s = time.monotonic() + 60
    while True:
        try:
            ask(f"{head.url}/api/jobs/", TOKEN)
            return
        except (URLError, OSError):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.2)


@pytest.fixture
def working_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def write_grid(folder: Path, **fields: Any) -> None:
    """A sweep on CPU workers: those run on any cluster."""
    quick: dict[str, Any] = {
        "model": "acme/made-up-7b",
        "backend": "synthetic",
        "gpus": 0,
        "n": 8,
        "baseline": {"enabled": False},
        "warmup": {"enabled": False},
        "execution": {"cpu_workers": 2},
    }
    (folder / "grid.yaml").write_text(yaml.safe_dump(quick | fields, sort_keys=False))


def completed(output: Path) -> Counter[str]:
    return Counter(load_result(path).experiment_id for path in output.rglob("result.json"))


def dispatched(output: Path) -> Counter[str]:
    lines = [line for path in output.rglob("journal.jsonl") for line in path.read_text().splitlines()]
    events = map(json.loads, lines)
    return Counter(event["experiment_id"] for event in events if event["event"] == "dispatched")


def test_without_the_token_the_dashboard_answers_nobody(head: Head) -> None:
    for token in (None, TOKEN[::-1]):
        with pytest.raises(HTTPError) as refused:
            ask(f"{head.url}/api/jobs/", token)
        assert refused.value.code in (401, 403)
    wrong = head.ray(
        *("job", "submit", "--address", head.url, "--", "true"),
        RAY_AUTH_TOKEN=TOKEN[::-1],
    )
    assert wrong.returncode != 0
    assert "authentication token" in wrong.stdout
    assert json.loads(ask(f"{head.url}/api/jobs/", TOKEN)) == []


def test_a_submitted_sweep_leaves_its_results_and_passes_its_exit_code_on(
    head: Head, working_dir: Path, tmp_path: Path
) -> None:
    write_grid(
        working_dir,
        sweep={"n": [1, 2]},
        experiments=[{"n": 3, "synthetic": {"fail_at": "run"}}],
    )
    output = tmp_path / "out"
    some_failed = head.submit("some-failed", working_dir, "llem-sweep", "grid.yaml", "--output", output)
    assert some_failed.returncode == 1, some_failed.stdout
    job = head.job("some-failed")
    assert (job["status"], job["driver_exit_code"]) == ("FAILED", 1)
    assert list(completed(output).values()) == [1, 1]
    assert len(list(output.rglob("failure.json"))) == 1
    assert len(list(output.rglob("summary.csv"))) == 1


def test_results_among_the_files_of_a_job_are_refused_since_they_would_go_with_the_cluster(
    head: Head, working_dir: Path
) -> None:
    write_grid(working_dir)
    head.submit("unkept", working_dir, "llem-sweep", "grid.yaml", wait=False)
    assert head.ended("unkept") == "FAILED"
    assert head.job("unkept")["driver_exit_code"] == 3
    assert "give --output a folder that stays" in " ".join(head.logs("unkept").split())


def test_a_stopped_job_finishes_what_runs_and_the_same_command_completes_the_sweep(
    head: Head, working_dir: Path, tmp_path: Path
) -> None:
    write_grid(working_dir, synthetic={"run_seconds": 0.8}, sweep={"n": list(range(1, 9))})
    output = tmp_path / "out"
    command = ("bash", RUN_OR_RESUME, "grid.yaml", output)
    head.submit("stopped", working_dir, *command, wait=False)
    deadline_s = time.monotonic() + 60
    while not completed(output):
        assert time.monotonic() < deadline_s, head.logs("stopped")
        time.sleep(0.05)

    stop = head.ray("job", "stop", "stopped", "--address", head.url)
    assert stop.returncode == 0, stop.stdout
    assert head.job("stopped")["status"] == "STOPPED"
    after_stop = completed(output)
    assert 1 < len(after_stop) < 8
    assert dispatched(output) == after_stop, "what ran was allowed to finish"
    assert not list(output.rglob("failure.json"))

    head.submit("resumed", working_dir, *command, wait=False)
    assert head.ended("resumed") == "SUCCEEDED", head.logs("resumed")
    assert len(completed(output)) == 8
    assert dispatched(output) == completed(output), "nothing ran twice"
