"""What a sweep's folder promises wherever it is kept: on local disk or in an object store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pytest

from factories import START, make_failed, make_plan, make_result_of
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import OutputError, ResumeError, StoreError
from llem_sweep.results.outcome import Completed
from llem_sweep.store.folder import SweepFolder
from llem_sweep.store.objects import ObjectStore
from llem_sweep.store.read import load_result, load_results
from llem_sweep.store.records import RunSettings
from llem_sweep.store.sweeps import create_sweep, open_sweep, read_sweep, sweeps_in
from llem_sweep.store.uri import inside
from llem_sweep.verify import verify_results
from object_stores import S3Server, store_at

SETTINGS = RunSettings(simulate_gpus=2, inline=False, address=None, tool_version="0.1.0")


class Home(NamedTuple):
    """A place that sweeps are made in."""

    place: str

    def create(self, experiments: int = 3) -> SweepFolder:
        clock = SimulatedClock(wall=START)
        return create_sweep(self.place, make_plan(experiments), SETTINGS, "model: m\n", clock, print)

    def files(self) -> dict[str, bytes]:
        """Every file below it by name, but those of the run at work."""
        found = _stored(store_at(self.place)) if "://" in self.place else _on_disk(Path(self.place))
        return {name: data for name, data in found.items() if "/.l" not in name}


def _on_disk(top: Path) -> dict[str, bytes]:
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def _stored(store: ObjectStore) -> dict[str, bytes]:
    return {name: store.get(name) for name in store.entries()}


@pytest.fixture(params=["path", "s3"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Home:
    if request.param == "path":
        return Home(str(tmp_path / "out"))
    s3: S3Server = request.getfixturevalue("s3")
    return Home(s3.folder("out"))


def reopen(folder: SweepFolder) -> SweepFolder:
    folder.close()
    return open_sweep(folder.place, SimulatedClock(wall=START), print)


def commit(folder: SweepFolder, number: int, attempt: int = 1) -> str:
    """Complete an experiment; the name of its folder."""
    planned = folder.plan.experiments[number]
    done = Completed(make_result_of(planned), b"samples")
    folder.commit(planned, attempt, done, final=True, worker="w")
    return folder.settled()[planned.experiment_id].folder


def fail(folder: SweepFolder, number: int, final: bool = True) -> None:
    folder.commit(folder.plan.experiments[number], 1, make_failed(), final=final, worker="w")


def test_a_new_sweep_holds_the_input_the_plan_and_the_settings(home: Home) -> None:
    with home.create() as folder:
        assert folder.place == inside(home.place, "grid_2026-03-04T05-06-07")
        files = {name.partition("/")[2]: data for name, data in home.files().items() if "journal" not in name}
        assert files["sweep.yaml"] == b"model: m\n"
        assert set(files) == {"sweep.yaml", "plan.json", "settings.json"}
        assert json.loads(files["settings.json"]) == SETTINGS._asdict()


def test_two_sweeps_of_one_second_never_share_a_place(home: Home) -> None:
    with home.create() as one, home.create() as two:
        assert two.place == inside(home.place, "grid_2026-03-04T05-06-07-2") != one.place


def test_sweeps_are_found_in_the_place_they_were_made_in(home: Home) -> None:
    assert sweeps_in(home.place) == ()
    with home.create() as one, home.create() as two:
        assert sweeps_in(home.place) == (one.place, two.place)
        assert sweeps_in(one.place) == ()


def test_an_outcome_is_kept_whole(home: Home) -> None:
    with home.create() as folder:
        name = commit(folder, 0)
        fail(folder, 1)
        folder.flush()
        [failed] = [each for each, _ in folder.failures()]
        files = home.files()
        top = "grid_2026-03-04T05-06-07"
        assert {each for each in files if each.startswith(f"{top}/{name}/")} == {
            f"{top}/{name}/result.json",
            f"{top}/{name}/timeseries.parquet",
        }
        assert files[f"{top}/{name}/timeseries.parquet"] == b"samples"
        assert [each for each in files if each.startswith(f"{top}/{failed}/")] == [
            f"{top}/{failed}/failure.json"
        ]


def test_what_was_stored_is_read_from_its_place(home: Home) -> None:
    with home.create() as folder:
        name = commit(folder, 0)
        commit(folder, 2)
        fail(folder, 1)
        folder.flush()
        known = (folder.settled(), folder.attempts(), list(folder.results()), list(folder.failures()))
        seen = read_sweep(folder.place)
        assert seen.place == folder.place
        assert (seen.settled(), seen.attempts(), list(seen.results()), list(seen.failures())) == known
    one = inside(folder.place, name)
    assert load_result(one) == load_result(inside(one, "result.json")) == known[2][0][1]
    assert load_results(home.place)["folder"].to_pylist() == [
        f"grid_2026-03-04T05-06-07/{each}" for each, _ in known[2]
    ]
    assert load_results(folder.place).num_rows == 2
    assert [str(each.folder) for each in verify_results(one).results] == [one]
    assert [str(each.folder) for each in verify_results(home.place).results] == [
        inside(folder.place, each) for each, _ in known[2]
    ]


def test_a_reopened_sweep_knows_everything_and_counts_nothing_twice(home: Home) -> None:
    with home.create() as folder:
        commit(folder, 0)
        fail(folder, 1, final=False)
        known = (folder.settled(), folder.attempts(), list(folder.results()), list(folder.failures()))
        with reopen(folder) as again:
            assert (again.plan, again.settings) == (folder.plan, SETTINGS)
            assert (again.settled(), again.attempts(), list(again.results()), list(again.failures())) == known
            with pytest.raises(StoreError, match="has its result in"):
                commit(again, 0)
            commit(again, 1, attempt=2)
            commit(again, 2)
            with reopen(again) as last:
                assert last.unsettled() == ()
    names = [name for name in home.files() if name.endswith("result.json")]
    assert len(names) == 3
    assert load_results(folder.place).num_rows == 3


def test_a_sweep_in_use_is_not_opened_again(home: Home) -> None:
    with home.create() as folder:
        with pytest.raises(ResumeError, match="another run is working on"):
            open_sweep(folder.place, SimulatedClock(), print)
        commit(folder, 0)
        folder.flush()
    assert load_results(folder.place).num_rows == 1


def test_the_journal_holds_every_line_in_order(home: Home) -> None:
    with home.create() as folder:
        for number in range(3):
            folder.journal("begun", n=number)
        with reopen(folder) as again:
            again.journal("begun", n=3)
    files = sorted(home.files().items())
    lines = [line for name, data in files if "/journal" in name for line in data.splitlines()]
    assert [json.loads(line)["n"] for line in lines] == [0, 1, 2, 3]


def test_the_summary_is_replaced(home: Home) -> None:
    with home.create() as folder:
        for status in ("failed", "completed"):
            folder.write_summary(pa.table({"status": [status]}))
            folder.flush()
    assert home.files()["grid_2026-03-04T05-06-07/summary.csv"] == b"status\ncompleted\n"


def test_a_sweep_in_which_nothing_was_begun_leaves_nothing(home: Home) -> None:
    home.create().discard()
    assert home.files() == {}


def write_over(place: str, content: bytes | None) -> None:
    """Put other content in the file at ``place``, or remove it."""
    if "://" not in place:
        Path(place).unlink()
        if content is not None:
            Path(place).write_bytes(content)
        return
    folder, _, options = place.partition("?")
    store = store_at(f"{folder.rpartition('/')[0]}?{options}")
    name = folder.rpartition("/")[2]
    store.delete(name)
    if content is not None:
        store.put(name, content)


def test_a_damaged_outcome_is_refused_to_readers_by_its_place(home: Home) -> None:
    with home.create() as folder:
        name = commit(folder, 0)
    file = inside(folder.place, name, "result.json")
    write_over(file, b"{")
    one = inside(folder.place, name)
    for read, what in ((load_result, one), (load_results, folder.place), (read_sweep, folder.place)):
        with pytest.raises((StoreError, ResumeError)) as caught:
            read(what)
        assert f"{file} isn't whole JSON" in str(caught.value)


@pytest.mark.parametrize(("part", "content"), [("result.json", b"{"), ("timeseries.parquet", None)])
def test_a_damaged_outcome_is_moved_aside_by_the_run_that_goes_on(
    home: Home, part: str, content: bytes | None
) -> None:
    with home.create() as folder:
        name = commit(folder, 0)
        commit(folder, 1)
    file = inside(folder.place, name, part)
    write_over(file, content)
    top = "grid_2026-03-04T05-06-07"
    before = home.files()
    damaged = {each: data for each, data in before.items() if each.startswith(f"{top}/{name}/")}
    with open_sweep(folder.place, SimulatedClock(wall=START), print) as again:
        assert len(again.repairs) == 1
        assert file in again.repairs[0]
        assert f"kept in .damaged/{name}, and its experiment runs again" in again.repairs[0]
        assert [planned.experiment_id for planned in again.unsettled()] == [
            folder.plan.experiments[number].experiment_id for number in (0, 2)
        ]
        commit(again, 0)
    after = home.files()
    for each, data in damaged.items():
        assert after[each.replace(f"{top}/", f"{top}/.damaged/", 1)] == data
    assert load_results(folder.place).num_rows == 2
    with open_sweep(folder.place, SimulatedClock(wall=START), print) as last:
        assert (last.repairs, len(last.settled())) == ((), 2)


def test_what_a_run_is_told_before_it_goes_on_is_known_to_the_next(home: Home) -> None:
    with home.create(2) as folder:
        fail(folder, 0)
        folder.retry([folder.plan.experiments[0].experiment_id])
        folder.extend(make_plan(3), "model: n\n")
        folder.keep_surroundings({"torch": ("2.13.0",)})
        seen = read_sweep(folder.place)
        assert len(seen.plan.experiments) == len(seen.unsettled()) == 3
        with reopen(folder) as again:
            assert again.plan == make_plan(3)
            assert len(again.unsettled()) == 3
            assert again.settings.surroundings == {"torch": ("2.13.0",)}
            commit(again, 2)
            again.extend(make_plan(4), "model: n\n")
    names = {name.partition("/")[2] for name in home.files()}
    assert names >= {"sweep.yaml", "sweep-2.yaml", "retried.json"}
    assert "sweep-3.yaml" not in names


def test_half_an_experiment_counts_for_nothing(home: Home) -> None:
    with home.create() as folder:
        commit(folder, 0)
    half = inside(folder.place, "half")
    if "://" in half:
        store_at(half).put("timeseries.parquet", b"samples")
    else:
        Path(half).mkdir()
        (Path(half) / "timeseries.parquet").write_bytes(b"samples")
    assert load_results(folder.place).num_rows == 1
    assert len(read_sweep(folder.place).settled()) == 1
    with open_sweep(folder.place, SimulatedClock(), print) as again:
        assert len(again.settled()) == 1


def test_a_place_without_a_sweep_is_refused(home: Home) -> None:
    for use in (read_sweep, lambda place: open_sweep(place, SimulatedClock(), print)):
        with pytest.raises(ResumeError, match=r"isn't a folder|isn't the folder of a sweep"):
            use(home.place)
    for read in (load_result, load_results, verify_results):
        with pytest.raises(StoreError, match=r"no result at|no folder at|nothing at"):
            read(home.place)
    assert home.files() == {}


def test_a_place_that_cannot_be_written_is_an_output_error(s3: S3Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    bucket, options = s3.new_bucket().split("?")
    for place in (str(tmp_path / "file" / "out"), f"{bucket}-that-is-not-there/out?{options}"):
        with pytest.raises(OutputError, match=r"can't (write|use)"):
            Home(place).create()
