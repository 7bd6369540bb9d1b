"""The manager's operations: who is sent to, who is listed, what is an error."""

from __future__ import annotations

import pytest
from trio.testing import wait_all_tasks_blocked

import roomactors
from roomactors import (
    ConnectionIdTakenError,
    ConnectionManager,
    HubSettings,
    MemberIdTakenError,
    RoomNameError,
    TooManyRoomsError,
    UnknownConnectionError,
)
from roomactors.core.commands import ListMembers
from tests.manager.fakes import Then, put
from tests.manager.textbook import Peer


async def test_everyone_is_sent_to_once() -> None:
    """In three rooms, in one, or in none: what goes to all arrives once."""
    peers = {name: Peer() for name in ("ada", "bob", "cleo")}
    async with ConnectionManager() as manager:
        for name, peer in peers.items():
            await manager.add_connection(name, peer)
        for room in ("tea", "coffee", "milk"):
            await manager.join_room("ada", room)
        await manager.join_room("bob", "tea")
        await manager.broadcast_to_all("hello")
        await manager.broadcast_to_all(b"bye")
    assert [peer.got for peer in peers.values()] == [["hello", b"bye"]] * 3


async def test_some_can_be_left_out() -> None:
    """`except_` names those who do not get it: the one who said it, mostly."""
    ada, bob = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=ada, bob=bob)
        await manager.broadcast_to_room("tea", "from ada", except_=["ada"])
        await manager.broadcast_to_room("tea", "for both")
    assert (ada.got, bob.got) == (["for both"], ["from ada", "for both"])


async def test_joining_twice_is_joining_once() -> None:
    """Each message comes once, and one leave is enough."""
    ada = Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=ada)
        await manager.join_room("ada", "tea")
        await manager.broadcast_to_room("tea", "hello")
        await manager.leave_room("ada", "tea")
        await manager.broadcast_to_room("tea", "not for ada")
        assert manager.get_room_connections("tea") == set()
    assert ada.got == ["hello"]


async def test_what_is_asked_is_what_is_so() -> None:
    """Right after each call both questions have the new answer, and the answers are copies."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer(), bob=Peer())
        await manager.join_room("ada", "coffee")
        assert manager.get_room_connections("tea") == {"ada", "bob"}
        assert manager.get_connection_rooms("ada") == {"tea", "coffee"}
        manager.get_room_connections("tea").clear()
        manager.get_connection_rooms("ada").clear()
        await manager.leave_room("ada", "tea")
        assert manager.get_room_connections("tea") == {"bob"}
        assert manager.get_connection_rooms("ada") == {"coffee"}
        assert manager.hub.rooms() == ["tea", "coffee"]
        await manager.remove_connection("ada")
        assert manager.get_room_connections("coffee") == set()
        assert manager.get_connection_rooms("ada") == set()
        assert manager.hub.rooms() == ["tea"]


async def test_a_seat_that_is_on_its_way_out_is_listed_no_more() -> None:
    """As soon as somebody has asked for it, though the room has not had its turn yet."""
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=Peer())
        seen: list[set[str]] = []

        def look() -> None:
            seen.append(set(manager.hub.rooms_of("ada")))
            seen.append(manager.get_room_connections("tea"))
            seen.append(manager.get_connection_rooms("ada"))

        command = ListMembers(answer=Then(look))
        manager.hub.keeper.post("tea", command, origin=None, accepted=lambda: None)
        await manager.leave_room("ada", "tea")
    assert seen == [{"tea"}, set(), set()]


async def test_an_id_that_is_taken_is_an_error() -> None:
    """The first connection stays what it was; the error has the id."""
    first, second = Peer(), Peer()
    async with ConnectionManager() as manager:
        await put(manager, "tea", ada=first)
        with pytest.raises(ConnectionIdTakenError) as taken:
            await manager.add_connection("ada", second)
        assert taken.value.connection == "ada"
        await manager.broadcast_to_all("hello")
    assert (first.got, second.got) == (["hello"], [])


async def test_an_id_is_one_in_the_whole_hub() -> None:
    """Neither a connection can have a member's id, nor a member a connection's."""
    async with roomactors.open_hub() as hub, ConnectionManager(hub) as manager:
        async with hub.room("tea").join("ada"):
            with pytest.raises(ConnectionIdTakenError):
                await manager.add_connection("ada", Peer())
        await manager.add_connection("ada", Peer())
        with pytest.raises(MemberIdTakenError):
            async with hub.room("tea").join("ada"):
                pass


async def test_an_unknown_connection_is_an_error_where_it_would_come_in() -> None:
    """It cannot join; leaving, removal and questions have nothing to do."""
    async with ConnectionManager() as manager:
        with pytest.raises(UnknownConnectionError) as unknown:
            await manager.join_room("ada", "tea")
        assert unknown.value.connection == "ada"
        await manager.leave_room("ada", "tea")
        await manager.remove_connection("ada")
        assert manager.get_connection_rooms("ada") == set()
        assert manager.get_room_connections("tea") == set()
        assert manager.hub.statistics().rooms == 0

        await put(manager, "tea", ada=Peer())
        await manager.leave_room("ada", "coffee")
        await manager.remove_connection("ada")
        with pytest.raises(UnknownConnectionError):
            await manager.join_room("ada", "tea")


async def test_a_room_s_name_is_checked() -> None:
    """A name that no room may have is refused everywhere but in questions."""
    async with ConnectionManager() as manager:
        await manager.add_connection("ada", Peer())
        for call in (
            manager.join_room("ada", "$all"),
            manager.leave_room("ada", ""),
            manager.broadcast_to_room("a\nb", "hello"),
        ):
            with pytest.raises(RoomNameError):
                await call


async def test_a_message_to_a_room_that_is_not_begins_none() -> None:
    """Names that come from outside cost nothing."""
    async with ConnectionManager() as manager:
        for number in range(100):
            await manager.broadcast_to_room(f"room {number}", "hello")
        assert manager.hub.statistics().rooms == 0


async def test_a_removal_touches_the_connection_s_own_rooms_alone() -> None:
    """Of 200 rooms only the three that it is in take a turn, and the one of everyone."""
    async with ConnectionManager() as manager:
        rooms = [f"room {number}" for number in range(200)]
        await manager.add_connection("ada", Peer())
        await manager.add_connection("bob", Peer())
        for room in rooms:
            await manager.join_room("bob", room)
        for room in rooms[:3]:
            await manager.join_room("ada", room)

        def turns() -> list[int]:
            return [manager.hub.room(room).statistics().turns for room in rooms]

        before = turns()
        await manager.remove_connection("ada")
        await wait_all_tasks_blocked()
        assert [now - then for now, then in zip(turns(), before, strict=True)] == [1] * 3 + [
            0
        ] * 197


async def test_the_bounds_of_a_hub_that_is_given_hold() -> None:
    """A connection is in as many rooms as a member may be."""
    settings = HubSettings(max_rooms_per_member=1)
    async with roomactors.open_hub(settings=settings) as hub, ConnectionManager(hub) as manager:
        await put(manager, "tea", ada=Peer())
        with pytest.raises(TooManyRoomsError):
            await manager.join_room("ada", "coffee")
