"""A hub with others in it, who sees whom, and the hook that tells of removals."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import roomactors
from roomactors import (
    ConnectionIdTakenError,
    ConnectionManager,
    Message,
    RemovedReason,
    Seat,
    UnknownConnectionError,
)
from tests.manager.fakes import put, recorder
from tests.manager.textbook import Peer

# A hub with others in it


async def test_what_others_broadcast_arrives_as_text_or_binary() -> None:
    """A string as it is, binary as such, any other value as compact JSON."""
    ada = Peer()
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=ada)
        room = hub.room("tea")
        for data in ("text", {"base64": "AAE="}, {"base64": "no"}, {"a": [1, None]}, 5):
            await room.broadcast(data)
        await hub.broadcast("to all")
    assert ada.got == ["text", b"\0\1", '{"base64":"no"}', '{"a":[1,null]}', "5", "to all"]


async def test_what_is_broadcast_here_arrives_at_others_as_data() -> None:
    """Text is a string; binary is base64, as at /raw."""
    async with (
        roomactors.open_hub() as hub,
        ConnectionManager(hub) as manager,
        hub.room("tea").join("eve") as seat,
    ):
        await manager.broadcast_to_room("tea", "text")
        await manager.broadcast_to_room("tea", b"\0\1")
        await manager.broadcast_to_all("to all")
        assert [await data_of(seat) for _ in range(3)] == ["text", {"base64": "AAE="}, "to all"]
        await put(manager, "tea", ada=Peer())
        assert [view.member for view in await hub.room("tea").members()] == ["eve", "ada"]
        assert manager.get_room_connections("tea") == {"ada"}


async def data_of(seat: Seat) -> object:
    """The data of the next event, which is a message."""
    event = await seat.receive()
    assert isinstance(event, Message)
    return event.data


async def test_volatile_messages_come_to_one_who_has_kept_up(autojump_clock: MockClock) -> None:
    """And not to one who is behind, nor to one whom they exclude."""
    fast, slow = Peer(), Peer(seconds=3)
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", fast=fast, slow=slow)
        room = hub.room("tea")
        await room.broadcast("first", volatile=True)
        await wait_all_tasks_blocked()
        await room.broadcast("second")
        await wait_all_tasks_blocked()
        await room.broadcast("third")
        await wait_all_tasks_blocked()
        await room.broadcast("fourth", volatile=True)
        await room.broadcast("fifth", volatile=True, except_=["fast"])
        await trio.sleep(60)
    assert fast.got == ["first", "second", "third", "fourth"]
    assert slow.got == ["first", "second", "third"]


async def test_one_that_the_hub_disconnects_is_removed_and_reported(
    autojump_clock: MockClock,
) -> None:
    """It gets what was sent before; then the program is told."""
    removed, on_removed = recorder()
    ada = Peer(seconds=1)
    async with (
        roomactors.open_hub() as hub,
        ConnectionManager(hub, on_removed=on_removed) as manager,
    ):
        await put(manager, "tea", ada=ada, bob=Peer())
        await manager.broadcast_to_room("tea", "before")
        hub.disconnect("ada")
        assert manager.get_room_connections("tea") == {"bob"}
        assert manager.get_connection_rooms("ada") == set()
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")
        assert await hub.leave("bob", "tea")
        assert manager.get_room_connections("tea") == set()
        await manager.broadcast_to_room("tea", "after")
        await trio.sleep(5)
        assert removed == [("ada", "kicked")]
        assert hub.members() == ["bob"]
    assert ada.got == ["before"]


async def test_an_id_is_free_when_the_program_has_been_told(autojump_clock: MockClock) -> None:
    """Until then a removal waits, so that a hook never speaks of somebody else's connection."""
    removed, on_removed = recorder()
    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=Peer(seconds=3))
        await manager.broadcast_to_room("tea", "hello")
        manager.hub.disconnect("ada")
        with pytest.raises(ConnectionIdTakenError):
            await manager.add_connection("ada", Peer())
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.remove_connection, "ada")
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionIdTakenError):
                await manager.add_connection("ada", Peer())
        assert trio.current_time() - began == 3
        await put(manager, "tea", ada=Peer())
        await wait_all_tasks_blocked()
        assert removed == [("ada", "kicked")]
        assert manager.get_room_connections("tea") == {"ada"}


async def test_a_hook_comes_first_when_others_wait_for_its_id(autojump_clock: MockClock) -> None:
    """What it does before it waits, it does while no other connection can have the id."""
    order = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        order.append("told")
        await trio.lowlevel.checkpoint()

    async with ConnectionManager(on_removed=on_removed) as manager:

        async def add_as_soon_as_possible() -> None:
            while "added" not in order:
                with suppress(ConnectionIdTakenError):
                    await manager.add_connection("ada", Peer())
                    order.append("added")

        await put(manager, "tea", ada=Peer(passes=20, error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(add_as_soon_as_possible)
    assert order == ["told", "added"]


async def test_a_late_removal_leaves_the_next_one_in_place() -> None:
    """A handler that names its own object removes nobody who has come after it."""
    first, second = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        await manager.remove_connection("ada", second)
        assert manager.get_room_connections("tea") == {"ada"}
        await manager.remove_connection("ada", first)
        await put(manager, "tea", ada=second)
        await manager.remove_connection("ada", first)
        assert manager.get_room_connections("tea") == {"ada"}


# The hook


async def test_a_hook_that_fails_is_logged_and_stops_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The next connection's removal is reported like the first one's."""
    told = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        told.append((connection_id, reason))
        raise ValueError("a bug of the program")

    async with ConnectionManager(on_removed=on_removed) as manager:
        await put(manager, "tea", ada=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        await put(manager, "tea", bob=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
    assert told == [("ada", "send_failed"), ("bob", "send_failed")]
    assert "on_removed failed for 'ada'" in caplog.text
    assert "a bug of the program" in caplog.text


async def test_a_slow_hook_holds_up_nobody(autojump_clock: MockClock) -> None:
    """Each runs in the task of the connection that it is about; its id is free by then."""
    done = []

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        await trio.sleep(5)
        done.append((connection_id, trio.current_time() - began))

    async with ConnectionManager(on_removed=on_removed) as manager:
        began = trio.current_time()
        await put(manager, "tea", ada=Peer(error=OSError()), bob=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
        await put(manager, "tea", ada=Peer())
        assert trio.current_time() == began
    assert sorted(done) == [("ada", 5), ("bob", 5)]
