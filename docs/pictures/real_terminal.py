"""A program on a pseudo-terminal, and the screen that it draws there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence

import pyte

Until = Callable[["RealTerminal"], bool]


class RealTerminal:
    """Runs a command on a terminal of its own; ``screen`` is what stands on it, ``written`` all that was sent."""

    def __init__(self, command: Sequence[str], columns: int, lines: int, environ: Mapping[str, str]) -> None:
        self.screen = pyte.Screen(columns, lines)
        self.written = b""
        self._stream = pyte.ByteStream(self.screen)
        # The child has nothing to do but to become another program.
        self._pid, self._file = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], list(command), dict(environ))
        self._size(columns, lines)

    @property
    def text(self) -> str:
        """The screen's lines, without spaces at their ends."""
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait_for(self, until: Until, limit_s: float = 60.0) -> None:
        """Follow the program until ``until`` is true of this terminal; raises TimeoutError, with the screen."""
        deadline_s = time.monotonic() + limit_s
        while not until(self):
            if not self._read(0.05) or time.monotonic() > deadline_s:
                raise TimeoutError(f"not seen in time on the screen:\n{self.text}")

    def follow(self, for_s: float) -> None:
        """Follow the program for so long, or until it ends."""
        end_s = time.monotonic() + for_s
        while time.monotonic() < end_s and self._read(0.05):
            pass

    def settle(self, for_s: float = 0.1) -> None:
        """Follow the program until it has written nothing for so long: nothing is half drawn then."""
        while select.select([self._file], [], [], for_s)[0] and self._read(0.0):
            pass

    def press(self, keys: str) -> None:
        """Type ``keys``; ``\\x03`` is Ctrl-C."""
        os.write(self._file, keys.encode())

    def resize(self, columns: int, lines: int) -> None:
        """Give the terminal another size, and tell the program."""
        self.screen.resize(lines, columns)
        self._size(columns, lines)

    def ended(self, limit_s: float = 60.0) -> int:
        """Follow the program to its end; its exit code."""
        deadline_s = time.monotonic() + limit_s
        while self._read(0.05):
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"still running:\n{self.text}")
        os.close(self._file)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self, wait_s: float) -> bool:
        """Take up what the program has written; False once it has ended."""
        if not select.select([self._file], [], [], wait_s)[0]:
            return True
        try:
            data = os.read(self._file, 65536)
        except OSError:
            # Linux says so when nobody has the other end any more.
            return False
        self.written += data
        self._stream.feed(data)
        return bool(data)

    def _size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._file, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
