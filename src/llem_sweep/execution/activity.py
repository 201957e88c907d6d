"""What a worker has done since its birth, in counts that only grow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from llem_sweep.clock import Clock
from llem_sweep.phases import Phase, PhaseMark
from llem_sweep.results.experiment import ExperimentResult


class Activity:
    """Time spent in each phase, and tokens of what was completed.

    Counted in the thread that measures, read from another: what is read may be a phase behind, and is whole again
    at the next look.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mark = PhaseMark(Phase.IDLE, clock.monotonic())
        self._ended_s = dict.fromkeys(Phase, 0.0)
        self.begun: Counter[Phase] = Counter({Phase.IDLE: 1})
        """How often each phase was begun."""
        self.input_tokens: Counter[str] = Counter()
        """By backend; of the measured windows of completed experiments."""
        self.output_tokens: Counter[str] = Counter()

    def on_phase(self, mark: PhaseMark) -> None:
        """Count the phase that ends with ``mark``; going on with the same one isn't another."""
        last, self._mark = self._mark, mark
        self._ended_s[last.phase] += mark.at_s - last.at_s
        if mark.phase is not last.phase:
            self.begun[mark.phase] += 1

    def completed(self, result: ExperimentResult) -> None:
        """Count the tokens of an experiment that was completed."""
        self.input_tokens[result.backend] += result.input_tokens
        self.output_tokens[result.backend] += result.output_tokens

    def phases_s(self) -> Mapping[Phase, float]:
        """Seconds spent in each phase so far, the one under way included."""
        mark, spent_s = self._mark, dict(self._ended_s)
        spent_s[mark.phase] += self._clock.monotonic() - mark.at_s
        return spent_s
