"""Commands on what looks to them like a machine of their own: no other processes, no other network.

`ray symmetric-run` stops every Ray that it finds on the machine, and Slurm wants ports of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from deploy_files import ROOT

ADDRESS = "10.77.0.1"
"""The machine's address in its network, in which nobody else is."""

UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--mount", "--net", "--kill-child")

# Ray's default folder, and a network that isn't only the loopback: names aren't looked up without one.
SET_UP = f"""
set -euo pipefail
mkdir -p /tmp/ray
mount -t tmpfs private /tmp/ray
ip link set lo up
ip link add outer type veth peer name inner
ip addr add {ADDRESS}/24 dev inner
ip link set outer up
ip link set inner up
"""


def user(home: Path, token: str | None = None) -> dict[str, str]:
    """A user's environment: a ``home`` of their own, with a ``token`` for Ray in it if one is given, and the
    installed programs on PATH."""
    home.mkdir()
    if token is not None:
        file = home / ".ray" / "auth_token"
        file.parent.mkdir()
        file.write_text(token)
        file.chmod(0o600)
    return {
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:/usr/sbin:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
    }


def why_not() -> str | None:
    """Why there can be no private machine here; None when there can."""
    if missing := [name for name in ("unshare", "ip", "mount") if shutil.which(name) is None]:
        return f"{', '.join(missing)} not installed"
    tried = subprocess.run([*UNSHARE, "bash", "-c", SET_UP], capture_output=True, text=True, timeout=30)
    return None if tried.returncode == 0 else f"namespaces aren't allowed here: {tried.stderr.strip()}"


def run_privately(
    script: str, environment: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a bash script on a private machine; whatever it leaves running is killed at its end."""
    return subprocess.run(
        [*UNSHARE, "bash", "-c", SET_UP + script],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout_s,
    )
