"""In which order messages come, and what a publisher waits for."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

import roomactors
from roomactors import ConnectionManager
from tests.manager.fakes import SMALL, put
from tests.manager.textbook import Peer


async def test_all_get_a_room_s_messages_in_the_same_order(autojump_clock: MockClock) -> None:
    """Ten tasks broadcast at once; slow or fast, each connection gets the same sequence."""
    peers = {f"peer {n}": Peer(passes=n, seconds=n % 2 * 0.01) for n in range(6)}
    async with ConnectionManager() as manager:
        await put(manager, "tea", **peers)

        async def publish(task: int) -> None:
            for number in range(20):
                await manager.broadcast_to_room("tea", f"{task} {number}")

        async with trio.open_nursery() as nursery:
            for task in range(10):
                nursery.start_soon(publish, task)
    first, *others = [peer.got for peer in peers.values()]
    assert len(first) == 200
    assert others == [first] * 5
    for task in range(10):
        mine = [message for message in first if str(message).startswith(f"{task} ")]
        assert mine == [f"{task} {number}" for number in range(20)]


async def test_one_task_s_messages_come_in_the_order_of_its_calls(
    autojump_clock: MockClock,
) -> None:
    """Also across rooms, and to a connection that is far behind when it reads them."""
    slow = Peer(seconds=1)
    async with ConnectionManager(send_seconds=100) as manager:
        await manager.add_connection("ada", slow)
        rooms = ["tea", "coffee", "milk"]
        for room in rooms:
            await manager.join_room("ada", room)
        for number in range(30):
            if number % 5 == 4:
                await manager.broadcast_to_all(str(number))
            else:
                await manager.broadcast_to_room(rooms[number * 7 % 3], str(number))
    assert slow.got == [str(number) for number in range(30)]


@pytest.mark.parametrize("publishers", [1, 300])
async def test_a_publisher_that_never_rests_loses_nobody_who_keeps_up(
    publishers: int, autojump_clock: MockClock
) -> None:
    """Sends that take many passes of the loop, but no time, are waited for."""
    peers = {f"peer {n}": Peer(passes=n * 5) for n in range(4)}
    async with roomactors.open_hub(settings=SMALL) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", **peers)

        async def publish() -> None:
            for _ in range(600 // publishers):
                await manager.broadcast_to_room("tea", "hello")

        async with trio.open_nursery() as nursery:
            for _ in range(publishers):
                nursery.start_soon(publish)
    assert [len(peer.got) for peer in peers.values()] == [600] * 4


async def test_a_stuck_connection_is_waited_for_once(autojump_clock: MockClock) -> None:
    """Once it has sent nothing while a publisher waited, publishers do not wait for it."""
    stuck, ada = Peer(seconds=3), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", stuck=stuck, ada=ada)
        passes = [await passes_of(manager.broadcast_to_room, "tea", "hello") for _ in range(100)]
        assert sum(count > 30 for count in passes) == 1
        # Once it has caught up it is like the others again.
        await trio.sleep(400)
        assert len(stuck.got) == 100
        passes = [await passes_of(manager.broadcast_to_room, "tea", "hello") for _ in range(30)]
        assert sum(count > 30 for count in passes) == 1


async def passes_of(call: Callable[..., object], *args: object) -> int:
    """How often trio's loop goes round during a call."""

    class Passes(trio.abc.Instrument):
        count = 0

        def after_io_wait(self, timeout: float) -> None:
            self.count += 1

    passes = Passes()
    trio.lowlevel.add_instrument(passes)
    try:
        await call(*args)  # type: ignore[misc]
    finally:
        trio.lowlevel.remove_instrument(passes)
    return passes.count
