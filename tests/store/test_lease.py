"""One run at a time on a sweep in an object store."""

from __future__ import annotations

import os

import pytest

from factories import START
from llem_sweep.clock import SimulatedClock
from llem_sweep.errors import ResumeError
from llem_sweep.store.lease import FRESH_S, LEASE_S, RENEW_S, Lease
from object_stores import Disk, MemoryStore


@pytest.fixture
def clock() -> SimulatedClock:
    return SimulatedClock(wall=START)


@pytest.fixture
def disk(clock: SimulatedClock) -> Disk:
    return Disk(clock)


@pytest.fixture
def store(disk: Disk) -> MemoryStore:
    return MemoryStore(disk)


def run_for(lease: Lease, clock: SimulatedClock, seconds: float) -> None:
    """Let time pass with ``lease`` looked after."""
    for _ in range(int(seconds)):
        clock.sleep(1.0)
        lease.tick()


def test_a_second_run_is_refused_by_the_name_of_the_first(store: MemoryStore, clock: SimulatedClock) -> None:
    first, second = Lease(store, "one", clock), Lease(store, "two", clock)
    first.take()
    with pytest.raises(ResumeError, match=f"another run is working on .*process {os.getpid()} on "):
        second.take()
    assert list(store.entries()) == [".lease/one.held"]
    first.tick()
    assert first.lost is None
    first.release()
    second.take()
    assert list(store.entries()) == [".lease/two.held"]


def test_a_lease_looked_after_lasts(store: MemoryStore, clock: SimulatedClock) -> None:
    first = Lease(store, "one", clock)
    first.take()
    run_for(first, clock, 10 * LEASE_S)
    assert first.fresh()
    with pytest.raises(ResumeError, match="another run"):
        Lease(store, "two", clock).take()


def test_renewing_writes_no_more_than_it_has_to(store: MemoryStore, clock: SimulatedClock) -> None:
    lease = Lease(store, "one", clock)
    lease.take()
    store.disk.written.clear()
    run_for(lease, clock, 4 * RENEW_S)
    assert store.disk.written == [".lease/one.held"] * 4


def test_the_lease_of_a_run_that_died_is_taken_over_once_it_has_expired(
    store: MemoryStore, clock: SimulatedClock
) -> None:
    dead = Lease(store, "one", clock)
    dead.take()
    clock.sleep(LEASE_S - 1)
    with pytest.raises(ResumeError, match="60 s after it died"):
        Lease(store, "two", clock).take()
    clock.sleep(1)
    taken = Lease(store, "two", clock)
    taken.take()
    assert list(store.entries()) == [".lease/two.held"]
    dead.tick()
    assert dead.lost is not None
    assert not dead.fresh()
    dead.release()
    assert list(store.entries()) == [".lease/two.held"], "what another holds is left alone"


def test_a_run_of_the_same_machine_goes_on_with_its_own_lease_at_once(
    store: MemoryStore, clock: SimulatedClock
) -> None:
    Lease(store, "one", clock).take()
    again = Lease(store, "one", clock)
    again.take()
    assert again.fresh()


def test_a_lease_that_cannot_be_renewed_allows_no_writing_until_it_is(
    store: MemoryStore, clock: SimulatedClock
) -> None:
    lease = Lease(store, "one", clock)
    lease.take()
    store.disk.down = True
    run_for(lease, clock, FRESH_S)
    assert not lease.fresh()
    assert lease.trouble == "could not connect to server"
    run_for(lease, clock, 10 * LEASE_S)
    store.disk.down = False
    run_for(lease, clock, 10)
    assert lease.fresh()
    assert lease.lost is None


def test_a_run_cut_off_for_long_notices_who_has_taken_over(store: MemoryStore, clock: SimulatedClock) -> None:
    cut_off = Lease(store, "one", clock)
    cut_off.take()
    clock.sleep(LEASE_S)
    other = Lease(store, "two", clock)
    other.take()
    cut_off.tick()
    assert cut_off.lost == f"process {os.getpid()} on {os.uname().nodename}"
    other.tick()
    assert other.lost is None


def test_a_run_cut_off_notices_that_another_has_come_and_gone(
    store: MemoryStore, clock: SimulatedClock
) -> None:
    cut_off = Lease(store, "one", clock)
    cut_off.take()
    clock.sleep(LEASE_S)
    other = Lease(store, "two", clock)
    other.take()
    other.release()
    cut_off.tick()
    assert cut_off.lost == "it has ended since"


def test_of_two_runs_that_claim_at_once_at_most_one_goes_on(
    store: MemoryStore, clock: SimulatedClock
) -> None:
    """The second claims at each of the first's steps in turn."""
    for step in range(3):
        store.disk.objects.clear()
        first, second = Lease(store, "one", clock), Lease(store, "two", clock)
        holders: list[Lease] = []
        puts = 0

        def rival_claims(name: str, step: int = step, second: Lease = second) -> None:
            nonlocal puts
            puts += 1
            if puts == step + 1 and name.startswith(".lease/one"):
                store.disk.before_put = lambda name: None
                take(second)

        def take(lease: Lease, holders: list[Lease] = holders) -> None:
            try:
                lease.take()
            except ResumeError:
                return
            holders.append(lease)

        store.disk.before_put = rival_claims
        take(first)
        assert len(holders) == 1, step
        assert not [name for name in store.entries() if name.endswith(".claim")]


def test_two_that_see_each_other_give_way_and_come_back(store: MemoryStore, clock: SimulatedClock) -> None:
    store.put(".lease/two.claim", b"{}")
    lease = Lease(store, "one", clock)
    clock.every(0.4, lambda: store.delete(".lease/two.claim") if clock.monotonic() > 1000.3 else None)
    lease.take()
    assert list(store.entries()) == [".lease/one.held"]


def test_an_attempt_of_another_run_does_not_end_ours(store: MemoryStore, clock: SimulatedClock) -> None:
    lease = Lease(store, "one", clock)
    lease.take()
    store.put(".lease/two.claim", b"{}")
    run_for(lease, clock, RENEW_S)
    assert lease.lost is None
