"""Two machines joined by a network of their own, each with its own processes, Ray folder and shared memory."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

ONE, TWO = "10.77.0.1", "10.77.0.2"

UNSHARE = "unshare --pid --fork --mount-proc --mount --net --uts --kill-child"

# A machine waits for its end of the cable. Ray takes the address that leads outside, so there has to be a route.
MACHINE = """
set -euo pipefail
mkdir -p /tmp/ray
mount -t tmpfs private /tmp/ray
mount -t tmpfs private /dev/shm
hostname "$1"
printf '127.0.0.1 localhost\\n%s one\\n%s two\\n' {one} {two} >/dev/shm/hosts
mount --bind /dev/shm/hosts /etc/hosts
until ip link show eth0 >/dev/null 2>&1; do sleep 0.05; done
ip link set lo up
ip addr add "$2/24" dev eth0
ip link set eth0 up
ip route add default via 10.77.0.254
source "$3"
"""

SWITCH = """
set -euo pipefail
ip link add name switch type bridge
ip link set switch up
plug_in() {{
  {unshare} bash -c "$(<{folder}/machine)" machine "$1" "$2" {folder}/$1 >{folder}/$1.log 2>&1 &
  outer=$! inner=
  until [[ $inner ]]; do sleep 0.05; inner=$(ps -o pid= --ppid "$outer" || true); done
  ip link add "to-$1" type veth peer name eth0 netns "$((inner))"
  ip link set "to-$1" master switch up
}}
plug_in one {one}
first=$outer
plug_in two {two}
wait "$first"
"""


def run_on_two(
    folder: Path, one: str, two: str, environment: Mapping[str, str], timeout_s: float
) -> tuple[int, str, str]:
    """Run a bash script on each of two machines, ``one`` and ``two``, until that on ``one`` ends.

    Returns the exit code of ``one`` and what each has printed. ``folder`` is seen by both.
    """
    (folder / "machine").write_text(MACHINE.format(one=ONE, two=TWO))
    (folder / "one").write_text(one)
    (folder / "two").write_text(two)
    switch = SWITCH.format(unshare=UNSHARE, folder=folder, one=ONE, two=TWO)
    done = subprocess.run([*UNSHARE.split(), "bash", "-c", switch], env=environment, timeout=timeout_s)
    return done.returncode, (folder / "one.log").read_text(), (folder / "two.log").read_text()
