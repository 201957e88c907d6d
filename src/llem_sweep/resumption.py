"""Going on with a sweep's folder: what has to be as it was, and what may be added."""

from __future__ import annotations

from typing import NamedTuple

from llem_sweep.config.contents import changed_contents
from llem_sweep.config.sweep import SweepConfig
from llem_sweep.errors import ConfigError, ResumeError
from llem_sweep.harness.environment import installed_packages
from llem_sweep.plan.changes import plan_changes
from llem_sweep.plan.expand import plan_sweep
from llem_sweep.plan.extension import Extension, extend_plan
from llem_sweep.plan.surroundings import surrounding_changes, surroundings_here
from llem_sweep.plan.types import ClusterShape, SweepPlan
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.records import RunSettings, SweepRecords


class Resuming(NamedTuple):
    """How a folder is to be resumed."""

    extend: bool = False
    """Add the points of a changed file."""
    accept_changes: bool = False
    """Go on although something differs."""
    retry_failed: bool = False
    """Run again what has failed."""


class Continuation(NamedTuple):
    """What a folder is to become, before any of it is written."""

    plan: SweepPlan
    accept_changes: bool = False
    accepted: tuple[str, ...] = ()
    """Differences that were found and accepted, one sentence each."""
    extension: Extension | None = None
    source: str = ""
    """The sweep file that ``extension`` comes from."""
    retried: frozenset[str] = frozenset()
    """Failed experiments to run again."""

    def waiting(self, folder: SweepRecords) -> SweepPlan:
        """What of the plan is to be run."""
        return self.plan._replace(experiments=folder.unsettled(self.plan, self.retried))


def check_request(resuming: Resuming, *, sweep: bool, resume: bool) -> None:
    """Raises ConfigError when what is asked for needs a folder or a sweep that isn't given."""
    if not resume and any(resuming):
        asked = ", ".join(name for name, wanted in resuming._asdict().items() if wanted)
        raise ConfigError(f"{asked}: only for a folder to resume")
    if resuming.extend and not sweep:
        raise ConfigError("extend: give the sweep that the folder is to be extended with")


def continuation(
    folder: SweepRecords, sweep: SweepConfig | None, asked: RunSettings, resuming: Resuming
) -> Continuation:
    """How ``folder`` goes on, with ``sweep`` or with what it holds. Writes nothing.

    Raises ResumeError, for everything at once, when it was made from something else and that isn't accepted, or
    can't be: simulation, where it runs, and the content of local models and data sets have to be as they were.
    """
    fixed = [*changed_contents(folder.plan.contents), *_other_places(folder.settings, asked)]
    new = plan_sweep(sweep) if sweep is not None else None
    changes = plan_changes(folder.plan, new) if new is not None and not resuming.extend else []
    if fixed or (changes and not resuming.accept_changes):
        way_on = (
            "Run it as a new sweep instead."
            if fixed
            else "Add what is new in the file with --extend, go on with the folder's own plan with"
            " --accept-changes, or run it as a new sweep."
        )
        raise ResumeError(
            f"{folder.place} was made from something else:\n{_listed(fixed + changes)}\n{way_on}"
        )
    failed = (key for key, settled in folder.settled().items() if settled.state == "failed")
    extension = extend_plan(folder.plan, new) if new is not None and resuming.extend else None
    return Continuation(
        extension.plan if extension is not None else folder.plan,
        resuming.accept_changes,
        accepted=tuple(f"the file isn't followed: {change}" for change in changes),
        extension=extension,
        source=sweep.source if sweep is not None else "",
        retried=frozenset(failed) if resuming.retry_failed else frozenset(),
    )


def adopt(folder: SweepFolder, step: Continuation, cluster: ClusterShape | None) -> tuple[str, ...]:
    """Make ``folder`` what ``step`` says, to be run on ``cluster`` (None when nothing is left to run).

    Returns what was done, in words. Raises ResumeError, with nothing written, when versions, driver or boards are
    others than the folder's results were measured with, and that isn't accepted.
    """
    accepted = list(step.accepted)
    waiting = step.waiting(folder).experiments
    if cluster is not None:
        metered = any(each.config.gpus for each in waiting)
        now = surroundings_here(cluster, installed_packages(), boards=metered)
        differing = surrounding_changes(folder.surroundings(), now)
        if differing and not step.accept_changes:
            raise ResumeError(
                f"{folder.place} was measured with something else:\n{_listed(differing)}\n"
                "Go on all the same with --accept-changes, or run it as a new sweep."
            )
        accepted += differing
    told = [f"accepted: {change}" for change in accepted]
    if accepted:
        folder.journal("changes_accepted", changes=accepted)
    if step.extension is not None:
        told += _extend(folder, step.extension, step.source, {each.experiment_id for each in waiting})
    if step.retried:
        folder.retry(step.retried)
        folder.journal("retry_failed", experiments=sorted(step.retried))
        told.append(f"{_experiments(len(step.retried))} that failed will be run again")
    if cluster is not None:
        folder.keep_surroundings(now)
    return tuple(told)


def _other_places(kept: RunSettings, asked: RunSettings) -> list[str]:
    changes = []
    if asked.simulate_gpus not in (None, kept.simulate_gpus):
        changes.append(f"simulated GPUs: {kept.simulate_gpus or 'none'} then, {asked.simulate_gpus} now")
    if asked.address and (kept.inline or kept.simulate_gpus is not None):
        changes.append(f"in this process or simulated then, on the cluster at {asked.address} now")
    if asked.inline and not kept.inline:
        changes.append("on Ray then, --inline now")
    return changes


def _extend(folder: SweepFolder, extension: Extension, source: str, waiting: set[str]) -> list[str]:
    if extension.plan == folder.plan:
        return ["the file adds nothing"]
    name = folder.extend(extension.plan, source)
    folder.journal(
        "extended",
        file=name,
        added=[each.experiment_id for each in extension.added],
        settings=extension.settings,
    )
    told = [f"{_experiments(len(extension.added))} added; the file is kept as {name}"]
    if extension.left:
        to_run = sum(each.experiment_id in waiting for each in extension.left)
        told.append(
            f"planned before and not in the file: {_experiments(len(extension.left))}; all of them stay, and"
            f" {to_run} of them will be run"
        )
    return [*told, *(f"from now on: {change}" for change in extension.settings)]


def _experiments(count: int) -> str:
    return f"{count} experiment{'s' * (count != 1)}"


def _listed(changes: list[str]) -> str:
    return "\n".join(f"  {change}" for change in changes)
