"""Leaving, removal, and calls that are cancelled."""

from __future__ import annotations

import gc
from collections import Counter
from functools import partial
from itertools import count

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import ConnectionManager, UnknownConnectionError
from roomactors.core.commands import Broadcast, ListMembers
from roomactors.core.hub import open_hub
from roomactors.manager.publisher import to_data
from roomactors.protocol.json_data import freeze
from tests.manager.fakes import Then, put, recorder
from tests.manager.textbook import Peer

# Leaving and removal


async def test_who_leaves_gets_what_came_before_and_nothing_after(
    autojump_clock: MockClock,
) -> None:
    """`leave_room` returns when the last message from before has been sent."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.join_room("ada", "coffee")
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        began = trio.current_time()
        await manager.leave_room("ada", "tea")
        assert slow.got == ["0", "1", "2"]
        assert trio.current_time() - began == 6
        await manager.broadcast_to_room("tea", "not for ada")
        await manager.broadcast_to_room("coffee", "for ada")
    assert slow.got == ["0", "1", "2", "for ada"]


async def test_leaving_waits_for_what_is_being_sent(autojump_clock: MockClock) -> None:
    """The last message from before is not on its way any more when `leave_room` returns."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        assert slow.asked == ["hello"]
        await manager.leave_room("ada", "tea")
        assert slow.got == ["hello"]


@pytest.mark.parametrize("draining", [False, True])
async def test_leaving_waits_no_longer_than_the_connection_lives(
    draining: bool, autojump_clock: MockClock
) -> None:
    """If it is removed meanwhile, there is nothing more to wait for, whatever the hub does."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(seconds=3600))
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "hello")
        await trio.sleep(6)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.leave_room, "ada", "tea")
            await wait_all_tasks_blocked()
            manager.hub.keeper.draining = draining
        assert trio.current_time() - began == 10


async def test_leaving_does_not_wait_for_what_other_rooms_send(autojump_clock: MockClock) -> None:
    """Nothing of this room is due, so it is left at once."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(seconds=5))
        await manager.join_room("ada", "coffee")
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await manager.leave_room("ada", "coffee")
        assert trio.current_time() == began


async def test_who_leaves_and_does_not_take_the_rest_is_removed(
    autojump_clock: MockClock,
) -> None:
    """The wait has the deadline of a send; nothing is dropped in silence."""
    removed, on_removed = recorder()
    slow = Peer(seconds=6)
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=slow)
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        began = trio.current_time()
        await manager.leave_room("ada", "tea")
        assert trio.current_time() - began == 10
        await wait_all_tasks_blocked()
        assert removed == [("ada", "lagged")]
        await trio.sleep(100)
    assert (slow.got, slow.asked) == (["0"], ["0", "1"])


async def test_a_leave_that_is_cancelled_leaves_all_the_same(autojump_clock: MockClock) -> None:
    """What came before is still sent, what comes after is not."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        await manager.broadcast_to_room("tea", "before")
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.leave_room("ada", "tea")
        assert scope.cancelled_caught
        assert manager.get_room_connections("tea") == set()
        assert manager.get_connection_rooms("ada") == set()
        await manager.broadcast_to_room("tea", "after")
    assert slow.got == ["before"]


async def test_who_is_removed_gets_what_came_before_and_nothing_after(
    autojump_clock: MockClock,
) -> None:
    """`remove_connection` returns when nothing more is sent."""
    slow = Peer(seconds=2)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=slow)
        for number in range(3):
            await manager.broadcast_to_room("tea", str(number))
        await manager.remove_connection("ada")
        assert slow.got == ["0", "1", "2"]
        await manager.broadcast_to_room("tea", "not for ada")
        await manager.broadcast_to_all("nor this")
        await trio.sleep(100)
    assert slow.asked == ["0", "1", "2"]


async def test_a_removal_waits_no_longer_than_a_send_may_take(autojump_clock: MockClock) -> None:
    """Then what is being sent is cut off, and the hook has nothing to say: the program asked."""
    removed, on_removed = recorder()
    slow = Peer(seconds=2)
    async with ConnectionManager(send_seconds=3, on_removed=on_removed) as manager:
        await put(manager, "tea", ada=slow)
        for number in range(5):
            await manager.broadcast_to_room("tea", str(number))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await manager.remove_connection("ada")
        assert trio.current_time() - began == 3
        await trio.sleep(100)
    assert (slow.got, slow.asked, removed) == (["0"], ["0", "1"], [])


async def test_what_fails_after_a_removal_is_not_reported(autojump_clock: MockClock) -> None:
    """The program has let the connection go; that it is dead is no news."""
    removed, on_removed = recorder()
    dead = Peer(seconds=1, error=OSError("closed meanwhile"))
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=dead)
        await manager.broadcast_to_room("tea", "one")
        await manager.broadcast_to_room("tea", "two")
        await manager.remove_connection("ada")
        await wait_all_tasks_blocked()
    assert (dead.asked, removed) == (["one"], [])


async def test_a_removal_that_is_cancelled_removes_at_once(autojump_clock: MockClock) -> None:
    """In a handler's `finally`, for instance: what is being sent is cut off."""
    stuck = Peer(seconds=5)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=stuck)
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.remove_connection("ada")
        assert scope.cancelled_caught
        assert manager.get_room_connections("tea") == set()
        await manager.add_connection("ada", Peer())
        await trio.sleep(100)
    assert (stuck.got, stuck.asked) == ([], ["hello"])


async def test_a_send_may_remove_its_own_connection(autojump_clock: MockClock) -> None:
    """It need not wait for itself, and is not asked again."""
    asked, go_on = [], trio.Event()

    async with ConnectionManager() as manager:

        async def send(message: str | bytes) -> None:
            asked.append(message)
            await go_on.wait()
            await manager.remove_connection("ada")

        await manager.add_connection("ada", object(), send=send)
        await manager.join_room("ada", "tea")
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "one")
        await manager.broadcast_to_room("tea", "two")
        go_on.set()
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
        assert manager.get_room_connections("tea") == set()
    assert asked == ["one"]


async def test_a_send_may_leave_the_room_it_sends_for(autojump_clock: MockClock) -> None:
    """It need not wait for itself; what came before the leave still comes."""
    asked = []

    async with ConnectionManager() as manager:

        async def send(message: str | bytes) -> None:
            asked.append(message)
            await manager.leave_room("ada", "tea")

        await manager.add_connection("ada", object(), send=send)
        await manager.join_room("ada", "tea")
        began = trio.current_time()
        await manager.broadcast_to_room("tea", "one")
        await wait_all_tasks_blocked()
        await manager.broadcast_to_room("tea", "two")
        await manager.broadcast_to_all("three")
        await wait_all_tasks_blocked()
        assert trio.current_time() == began
    assert asked == ["one", "three"]


async def test_a_removed_connection_s_rooms_are_not_the_next_one_s(
    autojump_clock: MockClock,
) -> None:
    """The id is free at once, and whoever takes it begins in no room."""
    first, second = Peer(seconds=5), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        await manager.broadcast_to_room("tea", "for the first")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.remove_connection, "ada")
            await wait_all_tasks_blocked()
            await manager.add_connection("ada", second)
            assert manager.get_connection_rooms("ada") == set()
            await manager.join_room("ada", "tea")
            await manager.broadcast_to_room("tea", "for the second")
        assert manager.get_room_connections("tea") == {"ada"}
        await manager.broadcast_to_all("for the second")
    assert (first.got, second.got) == (["for the first"], ["for the second"] * 2)


async def test_rooms_that_empty_vanish(autojump_clock: MockClock) -> None:
    """Left or lost by all, they are not listed; after the linger time they cost nothing."""
    async with ConnectionManager() as manager:
        tasks = trio.lowlevel.current_statistics().tasks_living
        await manager.add_connection("ada", Peer())
        await manager.add_connection("bob", Peer(error=OSError()))
        objects = kinds()
        for number in range(1000):
            await manager.broadcast_to_room(str(number), "to nobody")
            await manager.join_room("ada", str(number))
            await manager.join_room("bob", str(number))
            await manager.broadcast_to_room(str(number), "hello", except_=["bob"])
        for number in range(500):
            await manager.leave_room("ada", str(number))
        await manager.remove_connection("ada")
        assert len(manager.hub.rooms()) == 1000
        await manager.broadcast_to_room("0", "hello")
        await wait_all_tasks_blocked()
        assert manager.hub.rooms() == []
        await trio.sleep(10)
        assert manager.hub.statistics().rooms == 0
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert [(kind, more) for kind, more in (kinds() - objects).items() if more > 500] == []


def kinds() -> Counter[type]:
    """How many objects there are of each type, cycles apart."""
    gc.collect()
    return Counter(type(thing) for thing in gc.get_objects())


async def test_what_comes_right_before_a_removal_is_sent() -> None:
    """Also if the room takes both in one turn, when nobody may be served any more."""
    ada = Peer()
    async with ConnectionManager() as manager:
        hub = manager.hub
        await put(manager, "tea", ada=ada)

        def say_and_disconnect() -> None:
            data = to_data("hello", limit=100)
            hub.keeper.post("tea", Broadcast(data=data), origin=None, accepted=lambda: None)
            hub.disconnect("ada")

        command = ListMembers(answer=Then(say_and_disconnect))
        hub.keeper.post("tea", command, origin=None, accepted=lambda: None)
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == set()
    assert ada.got == ["hello"]


async def test_a_removal_in_a_drain_waits_for_what_the_room_hands_out() -> None:
    """Though the room has not come to this connection, nor ever says that its seat has ended."""
    work = count()
    last = Peer()
    opened = open_hub(freeze=partial(freeze, max_bytes=0), stopwatch=lambda: float(next(work)))
    async with opened as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", **{str(number): Peer() for number in range(100)}, last=last)
        await manager.broadcast_to_room("tea", "hello")
        assert hub.room("tea").statistics().behind > 1
        hub.keeper.draining = True
        await manager.remove_connection("last")
        assert last.got == ["hello"]


# Cancelled


async def test_an_add_that_is_cancelled_adds_nothing() -> None:
    """The id is free, and nothing is sent."""
    peer = Peer()
    async with ConnectionManager() as manager:
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.add_connection("ada", peer)
        await manager.add_connection("ada", Peer())
        await manager.broadcast_to_all("hello")
    assert peer.asked == []


async def test_a_join_that_is_cancelled_joins_nothing() -> None:
    """No room lists it afterwards."""
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", Peer())
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.join_room("ada", "tea")
        await wait_all_tasks_blocked()
        assert manager.get_room_connections("tea") == set()


async def test_a_broadcast_that_is_cancelled_while_it_waits_is_not_sent(
    autojump_clock: MockClock,
) -> None:
    """Nor does it keep those from sending who come after it."""
    stuck = Peer(seconds=3)
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=stuck)
        for _ in range(10):
            await manager.broadcast_to_room("tea", "hello")
        for broadcast in (
            manager.broadcast_to_room("tea", "cancelled"),
            manager.broadcast_to_all("cancelled"),
        ):
            with trio.CancelScope() as scope:
                scope.cancel()
                await broadcast
            assert scope.cancelled_caught
        await manager.broadcast_to_room("tea", "last")
        await trio.sleep(100)
        assert stuck.got == ["hello"] * 10 + ["last"]


async def test_one_that_is_removed_while_it_waits_to_join_is_unknown() -> None:
    """The room refuses it, and the caller hears what he would have heard a moment later."""
    async with ConnectionManager() as manager:
        hub = manager.hub
        await put(manager, "tea", eve=Peer(), ada=Peer())
        await manager.leave_room("ada", "tea")
        kick = ListMembers(answer=Then(lambda: hub.disconnect("ada")))
        hub.keeper.post("tea", kick, origin=None, accepted=lambda: None)
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")
        assert manager.get_room_connections("tea") == {"eve"}
