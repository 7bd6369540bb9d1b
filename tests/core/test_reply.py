"""How a task waits for an answer, and stops waiting."""

from __future__ import annotations

import pytest
import trio

from roomactors.core.reply import Reply, same
from roomactors.errors import BusyError
from tests.core.fakes import Passes, settle


async def test_an_answer_wakes_the_one_who_waits() -> None:
    """`read` makes of it what the task gets, when it is given."""
    reply = Reply[list[int], int](len)
    got = []

    async def ask() -> None:
        got.append(await reply.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settle()
        live = [1, 2]
        reply.set(live)
        live.append(3)
        assert reply.done
    assert got == [2]


async def test_an_answer_may_come_before_anyone_waits() -> None:
    """Waiting for it lets the others run all the same."""
    reply = Reply[int, int](same)
    reply.set(7)
    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    assert await reply.wait() == 7
    assert passes.count == 1


async def test_an_answer_that_has_come_is_given_to_one_who_is_cancelled() -> None:
    """What was done cannot be undone, so it is not hidden."""
    reply = Reply[int, int](same)
    reply.set(7)
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await reply.wait() == 7
    assert not scope.cancelled_caught


async def test_a_refusal_is_raised() -> None:
    """The error that the room gave, before or after the wait began."""
    early, late = Reply[int, int](same), Reply[int, int](same)
    early.fail(BusyError("tea"))
    with pytest.raises(BusyError):
        await early.wait()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(BusyError):
                await late.wait()

        nursery.start_soon(ask)
        await settle()
        late.fail(BusyError("tea"))


async def test_cancelling_the_wait_withdraws_the_question() -> None:
    """The room sees that nobody waits; an answer that is given all the same hurts nobody."""
    reply = Reply[int, int](same)
    with trio.move_on_after(0):
        await reply.wait()
    assert reply.abandoned
    reply.set(7)


async def test_there_is_one_answer() -> None:
    """A second one is a bug, and says so."""
    reply = Reply[int, int](same)
    reply.set(7)
    with pytest.raises(AssertionError):
        reply.fail(BusyError("tea"))
