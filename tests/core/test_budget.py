"""The shared budget: heavy work takes turns with everybody else's."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from roomactors.core.budget import SLICE_SECONDS, Budget
from tests.core.fakes import settle


def budget() -> Budget:
    return Budget(lambda: 0.0)


async def test_who_asks_while_something_is_left_does_not_wait() -> None:
    """No checkpoint is spent on it."""
    shared = budget()
    shared.spend(SLICE_SECONDS / 2)
    with trio.testing.assert_no_checkpoints():
        await shared.admit()


async def test_a_spent_slice_lets_the_loop_go_round_once() -> None:
    """The next one who asks waits for the others' turn, and then has a whole slice."""
    shared = budget()
    shared.spend(SLICE_SECONDS)
    with trio.testing.assert_checkpoints():
        await shared.admit()
    with trio.testing.assert_no_checkpoints():
        await shared.admit()


async def work(shared: Budget, name: int, seconds: float, order: list[int], times: int = 1) -> None:
    """Do heavy work so many times, as rooms do."""
    for _ in range(times):
        await shared.admit()
        order.append(name)
        shared.spend(seconds)


@pytest.mark.parametrize("seconds", [SLICE_SECONDS / 100, SLICE_SECONDS, SLICE_SECONDS * 3])
async def test_everyone_gets_a_slice_in_the_end(seconds: float) -> None:
    """However small or large their work is, none of those who wait is forgotten."""
    shared = budget()
    shared.spend(SLICE_SECONDS)
    order: list[int] = []
    async with trio.open_nursery() as nursery:
        for name in range(50):
            nursery.start_soon(work, shared, name, seconds, order, 3)
    assert sorted(order) == sorted([*range(50)] * 3)


@pytest.mark.parametrize("cancelled", [1, 2, 3])
async def test_a_cancelled_one_in_the_queue_holds_up_nobody(cancelled: int) -> None:
    """Neither the first to ask, which refills the slice, nor one that waits for it."""
    shared = budget()
    shared.spend(SLICE_SECONDS)
    asked: list[int] = []
    order: list[int] = []

    async def ask(name: int) -> None:
        with trio.CancelScope() as scope:
            asked.append(name)
            if len(asked) == cancelled:
                scope.cancel()
            await work(shared, name, SLICE_SECONDS * 2, order)

    async with trio.open_nursery() as nursery:
        for name in range(6):
            nursery.start_soon(ask, name)
        await settle()
        assert nursery.child_tasks == frozenset()
    assert sorted(order) == sorted(set(asked) - {asked[cancelled - 1]})


async def test_work_that_was_let_in_and_failed_is_accounted_for_by_its_room() -> None:
    """Spending nothing is enough for the next one to be let in."""
    shared = budget()
    shared.spend(SLICE_SECONDS)
    order: list[int] = []

    async def fail() -> None:
        await shared.admit()
        shared.spend(0.0)

    async with trio.open_nursery() as nursery:
        for name in range(5):
            nursery.start_soon(fail)
            nursery.start_soon(work, shared, name, SLICE_SECONDS * 2, order)
    assert sorted(order) == [*range(5)]


async def test_the_loop_goes_round_between_slices() -> None:
    """Between two heavy ones everybody else has had a turn; at the start, perhaps not yet."""
    shared = budget()
    order: list[int] = []
    passes = 0
    done = trio.Event()

    async def others() -> None:
        nonlocal passes
        while not done.is_set():
            passes += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        for _ in range(20):
            await work(shared, 0, SLICE_SECONDS, order)
        done.set()
    assert passes >= 18
