"""The same scenarios on a textbook manager and on ours: where the one fails, the other does not.

Each scenario is written once, for any manager; the test says what the textbook
makes of it, and then what ours does. Sets of strings have another order in
each run, so a scenario that is about the first member of a set looks up which
one that is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from roomactors import ConnectionIdTakenError, ConnectionManager
from tests.manager.textbook import Peer, TextbookManager

NAMES = ("ada", "bob", "cleo", "dan")


class Manager(Protocol):
    """What both have."""

    async def add_connection(self, connection_id: str, connection: Peer) -> None: ...
    async def remove_connection(self, connection_id: str) -> None: ...
    async def join_room(self, connection_id: str, room: str) -> None: ...
    async def leave_room(self, connection_id: str, room: str) -> None: ...
    async def broadcast_to_room(self, room: str, message: str | bytes) -> None: ...
    def get_room_connections(self, room: str) -> set[str]: ...


async def fill(
    manager: Manager, *, seconds: float = 0, names: Iterable[str] = NAMES
) -> dict[str, Peer]:
    """Put four connections into the room `tea`."""
    peers = {name: Peer(seconds=seconds) for name in names}
    for name, peer in peers.items():
        await manager.add_connection(name, peer)
        await manager.join_room(name, "tea")
    return peers


def first_in(manager: Manager) -> str:
    """The member that the textbook sends to first."""
    return next(iter(manager.get_room_connections("tea")))


# A join during a broadcast


async def join_during_a_broadcast(manager: Manager) -> dict[str, Peer]:
    """Somebody comes while the others are being sent to, each of whom takes a second."""
    peers = await fill(manager, seconds=1)
    peers["eve"] = Peer(seconds=1)
    await manager.add_connection("eve", peers["eve"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.broadcast_to_room, "tea", "hello")
        await trio.sleep(0.5)
        await manager.join_room("eve", "tea")
    await trio.sleep(5)
    return peers


async def test_a_join_during_a_broadcast(autojump_clock: MockClock) -> None:
    """The textbook's loop raises and skips the rest; ours sends to exactly those who were in."""
    textbook = TextbookManager()
    with pytest.raises(ExceptionGroup) as raised:
        await join_during_a_broadcast(textbook)
    assert raised.group_contains(RuntimeError, match="Set changed size during iteration")
    peers = [textbook.connections[name] for name in NAMES]
    assert sum(isinstance(peer, Peer) and peer.got == ["hello"] for peer in peers) == 1

    async with ConnectionManager() as ours:
        peers_of_ours = await join_during_a_broadcast(ours)
        assert {name: peer.got for name, peer in peers_of_ours.items()} == {
            **{name: ["hello"] for name in NAMES},
            "eve": [],
        }


# A removal during a broadcast


async def removal_during_a_broadcast(manager: Manager) -> dict[str, Peer]:
    """Somebody goes while the others are being sent to."""
    peers = await fill(manager, seconds=1)
    *_, last = manager.get_room_connections("tea")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.broadcast_to_room, "tea", "hello")
        await trio.sleep(0.5)
        await manager.remove_connection(last)
        peers.pop(last)
    await trio.sleep(5)
    return peers


async def test_a_removal_during_a_broadcast(autojump_clock: MockClock) -> None:
    """The textbook's loop raises, and most who stay hear nothing; with ours they all do."""
    textbook = TextbookManager()
    with pytest.raises(ExceptionGroup) as raised:
        await removal_during_a_broadcast(textbook)
    assert raised.group_contains(RuntimeError, match="Set changed size during iteration")

    async with ConnectionManager() as ours:
        peers = await removal_during_a_broadcast(ours)
        assert [peer.got for peer in peers.values()] == [["hello"]] * 3


# A dead member first


async def dead_member_first(manager: Manager) -> dict[str, Peer]:
    """The socket of the member whose turn is first is broken."""
    peers = await fill(manager)
    peers.pop(dead := first_in(manager))
    broken = Peer(error=ConnectionResetError("gone"))
    await manager.remove_connection(dead)
    await manager.add_connection(dead, broken)
    await manager.join_room(dead, "tea")
    assert isinstance(manager, ConnectionManager) or first_in(manager) == dead
    await manager.broadcast_to_room("tea", "hello")
    await wait_all_tasks_blocked()
    return peers


async def test_a_dead_member_comes_first(autojump_clock: MockClock) -> None:
    """The textbook hands its exception to the sender, and nobody hears; ours tells all others."""
    textbook = TextbookManager()
    with pytest.raises(ConnectionResetError):
        await dead_member_first(textbook)
    for connection in textbook.connections.values():
        assert isinstance(connection, Peer)
        assert connection.got == []
    assert len(textbook.get_room_connections("tea")) == 4

    async with ConnectionManager() as ours:
        peers = await dead_member_first(ours)
        assert [peer.got for peer in peers.values()] == [["hello"]] * 3
        assert ours.get_room_connections("tea") == set(peers)


# A slow member


async def slow_member(manager: Manager) -> tuple[float, dict[str, Peer]]:
    """One member takes an hour for a message; how long does the sender wait for ten?"""
    peers = await fill(manager)
    peers.pop(slow := first_in(manager)).seconds = 3600
    assert first_in(manager) == slow or isinstance(manager, ConnectionManager)
    began = trio.current_time()
    for number in range(10):
        await manager.broadcast_to_room("tea", str(number))
    waited = trio.current_time() - began
    await wait_all_tasks_blocked()
    return waited, peers


async def test_a_slow_member(autojump_clock: MockClock) -> None:
    """The textbook's room goes at the pace of its slowest; ours does not wait, and lets it go."""
    waited, _ = await slow_member(TextbookManager())
    assert waited == 36_000

    async with ConnectionManager() as ours:
        waited, peers = await slow_member(ours)
        assert waited == 0
        assert [peer.got for peer in peers.values()] == [[str(n) for n in range(10)]] * 3
        await trio.sleep(11)
        assert ours.get_room_connections("tea") == set(peers)


# A thousand empty rooms


async def thousand_rooms(manager: Manager) -> None:
    """A connection looks into each of a thousand rooms, and goes."""
    await manager.add_connection("ada", Peer())
    for number in range(1000):
        await manager.join_room("ada", f"room {number}")
    for number in range(999):
        await manager.leave_room("ada", f"room {number}")
    await manager.remove_connection("ada")


async def test_a_thousand_empty_rooms(autojump_clock: MockClock) -> None:
    """The textbook keeps them all, and looks through them at each removal; ours are gone."""
    textbook = TextbookManager()
    await thousand_rooms(textbook)
    assert len(textbook.rooms) == 1000

    async with ConnectionManager() as ours:
        await thousand_rooms(ours)
        assert ours.hub.rooms() == []
        await trio.sleep(10)
        assert ours.hub.statistics().rooms == 0


# An id that is used again


async def id_reuse(manager: Manager) -> tuple[Peer, Peer]:
    """A second tab connects under the same id, while the first is still there."""
    first, second = Peer(), Peer()
    await manager.add_connection("ada", first)
    await manager.join_room("ada", "tea")
    await manager.add_connection("ada", second)
    return first, second


async def test_an_id_that_is_taken(autojump_clock: MockClock) -> None:
    """In the textbook the second takes the first one's place and rooms; ours refuses it."""
    textbook = TextbookManager()
    first, second = await id_reuse(textbook)
    await textbook.broadcast_to_room("tea", "for the first")
    assert (first.got, second.got) == ([], ["for the first"])

    async with ConnectionManager() as ours:
        with pytest.raises(ConnectionIdTakenError):
            await id_reuse(ours)
        assert ours.get_room_connections("tea") == {"ada"}


async def id_after_removal(manager: Manager) -> tuple[Peer, Peer]:
    """The id is used again while a message is still on its way to the one before."""
    first, second = Peer(seconds=1), Peer()
    await manager.add_connection("ada", first)
    await manager.join_room("ada", "tea")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(manager.broadcast_to_room, "tea", "for the first")
        await wait_all_tasks_blocked()
        nursery.start_soon(manager.remove_connection, "ada")
        await wait_all_tasks_blocked()
        await manager.add_connection("ada", second)
    await manager.broadcast_to_room("tea", "for nobody")
    await manager.join_room("ada", "tea")
    await manager.broadcast_to_room("tea", "for the second")
    await wait_all_tasks_blocked()
    return first, second


async def test_an_id_that_is_used_again_at_once(autojump_clock: MockClock) -> None:
    """The textbook's broadcast trips over it; with ours each gets its own messages."""
    with pytest.raises(ExceptionGroup) as raised:
        await id_after_removal(TextbookManager())
    assert raised.group_contains(RuntimeError, match="Set changed size during iteration")

    async with ConnectionManager() as ours:
        first, second = await id_after_removal(ours)
        assert first.got == ["for the first"]
        assert second.got == ["for the second"]


# Twice


async def test_removing_twice(autojump_clock: MockClock) -> None:
    """The textbook raises KeyError, in whatever handler comes second; ours has nothing to do."""
    textbook = TextbookManager()
    await fill(textbook)
    await textbook.remove_connection("ada")
    with pytest.raises(KeyError):
        await textbook.remove_connection("ada")

    async with ConnectionManager() as ours:
        await fill(ours)
        await ours.remove_connection("ada")
        await ours.remove_connection("ada")
        assert ours.get_room_connections("tea") == {"bob", "cleo", "dan"}


# A message to a room of those who were in


async def test_both_agree_where_nothing_goes_wrong(autojump_clock: MockClock) -> None:
    """Without trouble every connection gets the same from both, in the same order."""

    async def scenario(manager: TextbookManager | ConnectionManager) -> dict[str, Peer]:
        peers = await fill(manager)
        await manager.join_room("ada", "coffee")
        await manager.broadcast_to_room("tea", "one")
        await manager.leave_room("bob", "tea")
        await manager.broadcast_to_room("tea", b"two")
        await manager.broadcast_to_room("coffee", "three")
        await manager.broadcast_to_all("four")
        await manager.broadcast_to_room("nowhere", "five")
        assert manager.get_room_connections("tea") == {"ada", "cleo", "dan"}
        assert manager.get_connection_rooms("ada") == {"tea", "coffee"}
        await manager.remove_connection("ada")
        assert manager.get_room_connections("coffee") == set()
        await wait_all_tasks_blocked()
        return peers

    async with ConnectionManager() as ours:
        of_ours = await scenario(ours)
    of_textbook = await scenario(TextbookManager())
    assert {name: peer.got for name, peer in of_ours.items()} == {
        name: peer.got for name, peer in of_textbook.items()
    }
    assert of_ours["ada"].got == ["one", b"two", "three", "four"]
