"""Sweeps in an object store, from their creation to another machine that goes on with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from factories import START, make_failed, make_plan, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import OutputError, ResumeError
from llem_sweep.results.outcome import Completed
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.lease import LEASE_S
from llem_sweep.store.records import RunSettings, read_sweep_folder
from llem_sweep.store.remote import create_in_store, open_in_store, read_from_store
from object_stores import Disk, MemoryStore

PLAN = make_plan(3)
PLACE = "mem://bucket/runs/grid_2026-03-04T05-06-07"


class Killed(BaseException):
    """The process died."""


class World:
    """A store, and machines that die."""

    def __init__(self, spool: Path, settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = SimulatedClock(wall=START)
        self.disk = Disk(self.clock)
        self.told: list[str] = []
        self.place = PLACE
        self._spool = spool
        self._settings = settings
        self._monkeypatch = monkeypatch

    def on(self, machine: str) -> World:
        """Go on there."""
        self._monkeypatch.setenv("LLEM_SWEEP_SPOOL", str(self._spool / machine))
        return self

    def create(self) -> SweepFolder:
        store = MemoryStore(self.disk)
        folder = create_in_store(store, PLAN, self._settings, "model: m\n", self.clock, self.told.append)
        self.place = folder.place
        return folder

    def open(self) -> SweepFolder:
        return open_in_store(MemoryStore(self.disk, self.place), self.clock, self.told.append)

    def names(self) -> set[str]:
        """In the sweep's folder."""
        top = f"{self.place.removeprefix('mem://bucket/')}/"
        return {name.removeprefix(top) for name in self.disk.objects if name.startswith(top)}

    def outcomes(self) -> set[str]:
        return {name for name in self.names() if name.endswith(("result.json", "failure.json"))}

    def pass_lease(self) -> None:
        """Let the lease of whoever died expire."""
        self.clock.sleep(LEASE_S)


@pytest.fixture
def world(spool: Path, settings: RunSettings, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(spool, settings, monkeypatch)


def work(folder: SweepFolder, pause: Callable[[float], None]) -> None:
    """Commit what isn't settled yet; the second experiment fails once before it completes."""
    for number, planned in enumerate(folder.plan.experiments):
        attempt = folder.attempts().get(planned.experiment_id, 0) + 1
        if planned.experiment_id in folder.settled():
            continue
        if number == 1 and attempt == 1:
            folder.commit(planned, attempt, make_failed(), final=False, worker="w")
            attempt += 1
        done = Completed(make_result_of(planned), b"samples")
        folder.commit(planned, attempt, done, final=True, worker="w")
        pause(1.0)
    folder.flush()


def commit(folder: SweepFolder, number: int, output_tokens: int = 1000) -> str:
    planned = folder.plan.experiments[number]
    done = Completed(make_result_of(planned, output_tokens=output_tokens), b"samples")
    folder.commit(planned, 1, done, final=True, worker="w")
    return folder.settled()[planned.experiment_id].folder


def test_a_new_sweep_is_there_at_once(world: World, spool: Path) -> None:
    with world.create() as folder:
        assert folder.place == PLACE
        assert world.disk.written[-1] == "plan.json", "with its plan a sweep is one"
        assert {name for name in world.names() if not name.startswith(".lease/")} == {
            "sweep.yaml",
            "settings.json",
            "plan.json",
        }
        assert world.disk.objects["runs/grid_2026-03-04T05-06-07/sweep.yaml"][0] == b"model: m\n"
        assert folder.path.parent == spool


def test_two_sweeps_of_one_second_never_share_a_folder(world: World) -> None:
    with world.on("a").create() as first, world.on("b").create() as second:
        assert (first.place, second.place) == (PLACE, f"{PLACE}-2")


@pytest.mark.parametrize("fails_at", range(5))
def test_a_store_that_fails_at_the_start_is_an_output_error_with_nothing_left(
    world: World, spool: Path, fails_at: int
) -> None:
    puts = 0

    def fail(name: str) -> None:
        nonlocal puts
        puts += 1
        if puts > fails_at:
            raise OSError("AWS Error ACCESS_DENIED")

    world.disk.before_put = fail
    with pytest.raises(OutputError, match=r"can't use mem://bucket/runs: AWS Error ACCESS_DENIED; check"):
        world.create()
    assert world.names() == set()
    assert list(spool.iterdir()) == []


def test_a_store_that_does_not_answer_is_an_output_error(world: World, spool: Path) -> None:
    world.create().close()
    world.disk.down = True
    for attempt in (world.create, world.open):
        with pytest.raises(OutputError, match="could not connect"):
            attempt()
    with pytest.raises(OutputError, match="could not connect"):
        read_from_store(MemoryStore(world.disk, PLACE))
    assert not spool.exists() or list(spool.iterdir()) == []


def test_a_sweep_in_which_nothing_was_begun_can_be_taken_back(world: World, spool: Path) -> None:
    world.create().discard()
    assert world.names() == set()
    assert list(spool.iterdir()) == []


def test_what_is_not_a_sweep_is_refused_and_stays_untouched(world: World, spool: Path) -> None:
    with pytest.raises(ResumeError, match=r"mem://.* isn't the folder of a sweep: it holds no plan\.json"):
        world.open()
    with pytest.raises(ResumeError, match="isn't the folder of a sweep"):
        read_from_store(MemoryStore(world.disk, PLACE))
    assert world.names() == set()
    assert not spool.exists()


def test_another_machine_goes_on_from_what_is_in_the_store(world: World) -> None:
    with world.on("a").create() as first:
        commit(first, 0)
        first.commit(PLAN.experiments[1], 1, make_failed(), final=False, worker="w")
        first.flush()
        known = (first.settled(), first.attempts(), list(first.results()), list(first.failures()))
    with world.on("b").open() as second:
        assert (second.settled(), second.attempts(), list(second.results()), list(second.failures())) == known
        assert (second.plan, second.settings) == (first.plan, first.settings)
        commit(second, 2)
        second.flush()
        assert len([name for name in world.outcomes() if name.endswith("result.json")]) == 2
    assert not second.path.exists()


def test_what_waits_is_uploaded_when_the_same_machine_goes_on(world: World) -> None:
    first = world.on("a").create()
    world.disk.down = True
    name = commit(first, 0)
    first.close()
    world.disk.down = False
    assert world.outcomes() == set()
    with world.on("a").open() as again:
        assert len(again.settled()) == 1
        again.flush()
        assert world.outcomes() == {f"{name}/result.json"}
        assert f"{name}/timeseries.parquet" in world.names()
    assert not again.path.exists()


def test_a_result_that_waited_while_another_machine_measured_it_is_dropped(world: World) -> None:
    first = world.on("a").create()
    world.disk.down = True
    commit(first, 0)
    commit(first, 1)
    first.close()
    world.disk.down = False
    world.pass_lease()
    with world.on("b").open() as second:
        kept = commit(second, 0, output_tokens=7)
        second.flush()
    with world.on("a").open() as again:
        assert {settled.folder for settled in again.settled().values()} >= {kept}
        assert [result.output_tokens for _, result in again.results()] == [7, 1000]
        again.flush()
    assert len(world.outcomes()) == 2
    assert "another run has completed its experiment since" in world.told[-1]
    [text] = [data.decode() for name, (data, _) in world.disk.objects.items() if b"superseded" in data]
    assert PLAN.experiments[0].experiment_id in text
    assert len(read_from_store(MemoryStore(world.disk, PLACE)).settled()) == 2


def test_two_outcomes_of_one_name_are_both_kept(world: World) -> None:
    """Two machines whose failures fall into one second."""
    first = world.on("a").create()
    world.disk.down = True
    first.commit(PLAN.experiments[0], 1, make_failed(message="on the first"), final=False, worker="w")
    [(name, _)] = first.failures()
    first.close()
    world.disk.down = False
    world.pass_lease()
    with world.on("b").open() as second:
        second.commit(PLAN.experiments[0], 1, make_failed(message="second"), final=False, worker="w")
        second.flush()
    taken = next(each for each in world.outcomes())
    data, entry = world.disk.objects.pop(f"runs/grid_2026-03-04T05-06-07/{taken}")
    world.disk.objects[f"runs/grid_2026-03-04T05-06-07/{name}/failure.json"] = (data, entry)
    with world.on("a").open() as again:
        again.flush()
        assert {record.message for _, record in again.failures()} == {"on the first", "second"}
    assert world.outcomes() == {f"{name}/failure.json", f"{name}-2/failure.json"}


def test_an_outcome_moved_away_in_the_store_is_run_again(world: World) -> None:
    first = world.on("a").create()
    name = commit(first, 0)
    world.clock.sleep(1.0)
    world.disk.down = True
    commit(first, 1)
    first.close()
    world.disk.down = False
    for part in ("result.json", "timeseries.parquet"):
        del world.disk.objects[f"runs/grid_2026-03-04T05-06-07/{name}/{part}"]
    with world.on("a").open() as again:
        assert [planned.experiment_id for planned in again.unsettled()] == [
            PLAN.experiments[0].experiment_id,
            PLAN.experiments[2].experiment_id,
        ]


def test_a_sweep_that_cannot_be_used_is_refused_by_its_place_in_the_store(world: World) -> None:
    with world.create() as folder:
        name = commit(folder, 0)
        folder.flush()
    top = "runs/grid_2026-03-04T05-06-07"
    world.disk.objects[f"{top}/copy/result.json"] = world.disk.objects[f"{top}/{name}/result.json"]
    world.disk.objects[f"{top}/copy/timeseries.parquet"] = world.disk.objects[
        f"{top}/{name}/timeseries.parquet"
    ]
    refusal = f"{PLACE} can't be used: .* both hold the result of"
    with pytest.raises(ResumeError, match=refusal):
        world.open()
    with pytest.raises(ResumeError, match=refusal):
        read_from_store(MemoryStore(world.disk, PLACE))
    assert not [name for name in world.names() if name.startswith(".lease/")], "nobody is kept out"


def test_a_waiting_outcome_damaged_here_is_moved_aside_into_the_store(world: World) -> None:
    first = world.on("a").create()
    world.disk.down = True
    name = commit(first, 0)
    (first.path / name / "result.json").write_text("{")
    first.close()
    world.disk.down = False
    with world.on("a").open() as again:
        assert len(again.repairs) == 1
        assert again.settled() == {}
    assert world.outcomes() == {f".damaged/{name}/result.json"}
    assert f".damaged/{name}/timeseries.parquet" in world.names()


def test_what_a_run_could_not_tell_the_store_stops_it_and_is_forgotten(world: World) -> None:
    with world.on("a").create() as folder:
        folder.commit(PLAN.experiments[0], 1, make_failed(), final=True, worker="w")
        folder.flush()
        world.disk.down = True
        with pytest.raises(OutputError, match=r"can't use mem://.*--resume mem://"):
            folder.retry([PLAN.experiments[0].experiment_id])
    world.disk.down = False
    with world.on("a").open() as again:
        assert len(again.settled()) == 1
        assert again.retried() == frozenset()


def test_half_an_upload_counts_for_nothing_and_is_cleared_away(world: World) -> None:
    with world.on("a").create() as folder:
        commit(folder, 0)
        folder.flush()
    store = MemoryStore(world.disk, PLACE)
    store.put("half/timeseries.parquet", b"samples")
    assert len(read_from_store(store).settled()) == 1
    with world.on("b").open() as again:
        assert len(again.settled()) == 1
        assert not {name for name in world.names() if name.startswith("half/")}


def test_killed_before_any_upload_nothing_in_the_store_is_half_and_another_machine_completes_it(
    world: World,
) -> None:
    for step in range(100):
        world.disk.objects.clear()
        folder = world.on(f"a{step}").create()
        left = step

        def die(name: str) -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        world.disk.before_put = die
        try:
            work(folder, world.clock.sleep)
            lived = True
        except Killed:
            lived = False
        world.disk.before_put = lambda name: None
        for marker in world.outcomes():
            if marker.endswith("result.json"):
                assert marker.replace("result.json", "timeseries.parquet") in world.names()
        # What the dead had running is gone.
        world.clock = world.disk.clock = SimulatedClock(wall=world.clock.now())
        world.pass_lease()
        with world.on(f"b{step}").open() as again:
            work(again, world.clock.sleep)
        records = read_from_store(MemoryStore(world.disk, world.place))
        assert len(records.settled()) == 3
        assert len([name for name in world.outcomes() if name.endswith("result.json")]) == 3
        assert {name.rpartition("/")[0] for name in world.names() if name.endswith(".parquet")} == {
            folder for folder, _ in records.results()
        }
        if lived:
            break
    assert lived
    assert step == 8, "one for each object"


def test_a_copy_that_is_read_goes_with_its_records(world: World) -> None:
    with world.create() as folder:
        commit(folder, 0)
        folder.flush()
        records = read_from_store(MemoryStore(world.disk, PLACE))
        assert records.settled() == folder.settled()
        assert list(records.results()) == list(folder.results())
        assert records.place == PLACE
    path = records.path
    assert read_sweep_folder(path).settled() == records.settled()
    del records
    assert not path.exists()
