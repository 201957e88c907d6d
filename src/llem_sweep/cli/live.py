"""A sweep under way on a terminal, drawn in place."""

from __future__ import annotations

from collections import deque

from rich.console import Console, RenderableType
from rich.control import Control
from rich.live import Live
from rich.segment import ControlType
from rich.text import Text

from llem_sweep.cli.escape import outside
from llem_sweep.cli.frame import frame
from llem_sweep.execution.progress import FailureNote, Progress

REFRESH_HZ = 4
MESSAGES_KEPT = 5
"""Shown again after the terminal was resized, which clears it."""


class LiveView:
    """Draws a sweep in place, a few times a second, whatever the rate of updates; gone once closed."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress: Progress | None = None
        self._messages: deque[Text] = deque(maxlen=MESSAGES_KEPT)
        self._size = console.size
        self._live = Live(
            get_renderable=self._draw,
            console=console,
            refresh_per_second=REFRESH_HZ,
            transient=True,
            vertical_overflow="crop",
        )

    def message(self, text: str) -> None:
        self._messages.append(outside(text))
        self._console.print(self._messages[-1], soft_wrap=True)

    def failed(self, note: FailureNote) -> None:
        """Shown in the frame, and in the closing table."""

    def update(self, progress: Progress) -> None:
        self._progress = progress
        if not self._live.is_started:
            self._live.start(refresh=True)
        elif (size := self._console.size) != self._size:
            self._size = size
            self._begin_anew()

    def close(self) -> None:
        self._live.stop()

    def _begin_anew(self) -> None:
        """Clear the screen, since nobody can say where lines drawn for another width stand on it now."""
        clear = Control((ControlType.CLEAR,), (ControlType.HOME,))
        self._console.print(clear, *self._messages, sep="\n", end="\n" * bool(self._messages), soft_wrap=True)
        # With that the last frame was drawn again, made for the size before.
        self._live.refresh()

    def _draw(self) -> RenderableType:
        if self._progress is None:
            return Text()
        return frame(self._progress, self._console.width, self._console.height)
