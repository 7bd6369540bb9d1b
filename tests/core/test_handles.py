"""What programs hold: a room by its name, and a seat for the length of a block."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from roomactors.core.settings import RoomSettings
from roomactors.errors import (
    ClosedSeatError,
    MemberIdTakenError,
    NotAMemberError,
    RoomFullError,
    TooLargeError,
)
from tests.core.fakes import connect, heard, line, open_hub, settle


async def test_a_seat_is_held_for_the_length_of_a_block() -> None:
    """The others see when it begins and ends; it knows how the room was when it came."""
    async with open_hub() as hub:
        room = hub.room("tea")
        async with room.join("ada", user="Ada L.") as ada:
            async with room.join("bob", info="a dog") as bob:
                assert bob.arrival.seq == 1
                assert [view.member for view in bob.arrival.members] == ["ada", "bob"]
                assert [view.user for view in bob.arrival.members] == ["Ada L.", None]
                assert [view.info for view in await room.members()] == [None, "a dog"]
                assert bob.arrival.epoch == room.statistics().epoch
                assert bob.room is room
                assert bob.ended is None
                assert (bob.member, repr(bob)) == ("bob", "<Seat 'bob' in 'tea'>")
            await settle()
            assert bob.ended == "left"
            assert heard(ada) == ["2 +bob(a dog)", "3 -bob left"]
    assert "tea" in repr(room)


async def test_a_block_that_fails_ends_as_a_loss() -> None:
    """The others see that it was no ordinary goodbye."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        with pytest.raises(ValueError, match="a bug"):
            async with hub.room("tea").join("bob"):
                raise ValueError("a bug")
        await settle()
        assert heard(ada) == ["2 +bob", "3 -bob disconnected"]


async def test_one_id_is_one_member_in_many_rooms_but_once_in_each() -> None:
    """A second seat in the same room is refused, and the first one stays."""
    async with open_hub() as hub, hub.room("tea").join("ada"), hub.room("jam").join("ada"):
        with pytest.raises(MemberIdTakenError):
            await hub.room("tea").join("ada").__aenter__()
        assert hub.rooms_of("ada") == ["tea", "jam"]
        assert hub.members() == ["ada"]


async def test_a_client_s_id_is_not_for_a_member_in_this_process() -> None:
    """Nobody speaks for a client."""
    async with open_hub() as hub:
        connect(hub, "ada")
        with pytest.raises(MemberIdTakenError):
            await hub.room("tea").join("ada").__aenter__()


async def test_a_refused_join_leaves_nobody_behind() -> None:
    """Neither a member nor somebody who can be sent to."""
    async with open_hub(room=RoomSettings(max_members=1)) as hub, hub.room("tea").join("ada"):
        with pytest.raises(RoomFullError):
            await hub.room("tea").join("bob").__aenter__()
        assert hub.members() == ["ada"]
        assert [view.member for view in await hub.room("tea").members()] == ["ada"]


async def test_who_leaves_may_come_back_at_once() -> None:
    """The late leave of the earlier seat removes nobody else."""
    async with open_hub() as hub:
        came_at = []
        for _ in range(3):
            async with hub.room("tea").join("ada") as seat:
                assert hub.rooms_of("ada") == ["tea"]
                came_at.append(seat.arrival.seq)
        await settle()
        assert came_at == [0, 2, 4]
        assert hub.rooms() == []


async def test_a_seat_can_be_iterated_over() -> None:
    """Until it ends; `ended` then says why."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        await hub.room("tea").broadcast("1")
        await hub.room("tea").broadcast("2")
        await hub.leave("ada", "tea")
        assert [line(event) async for event in ada] == ["tea 2 *: 1", "tea 3 *: 2"]
        assert ada.ended == "kicked"


async def test_nothing_now_is_not_the_end() -> None:
    """The two are told apart, at once and while waiting."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        with pytest.raises(trio.WouldBlock):
            ada.receive_nowait()

        async def wait_for_the_end() -> None:
            with pytest.raises(ClosedSeatError) as caught:
                await ada.receive()
            assert (caught.value.room, caught.value.reason) == ("tea", "kicked")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for_the_end)
            await settle()
            hub.disconnect("ada")
        with pytest.raises(ClosedSeatError):
            ada.receive_nowait()


async def test_receiving_is_a_checkpoint_even_when_something_waits() -> None:
    """A reader that always has something to read keeps nobody else from running."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        await hub.room("tea").broadcast("1")
        with trio.testing.assert_checkpoints():
            await ada.receive()


async def test_an_ended_seat_does_not_speak_even_where_a_later_one_is_in() -> None:
    """The seat is what may speak, and not the id."""
    async with open_hub() as hub, hub.room("tea").join("ada") as first:
        await hub.leave("ada", "tea")
        async with hub.room("tea").join("ada") as second:
            with pytest.raises(NotAMemberError):
                await first.broadcast("from beyond")
            await second.broadcast("hello")
            assert heard(second) == ["4 ada: hello"]


async def test_an_ended_seat_starts_no_room() -> None:
    """To be told that it may not speak, it need not."""
    async with open_hub(room=RoomSettings(linger_seconds=0)) as hub:
        async with hub.room("tea").join("ada") as seat:
            pass
        await settle()
        with pytest.raises(NotAMemberError):
            await seat.broadcast("hello")
        assert hub.statistics().rooms == 0


async def test_asking_who_is_in_starts_no_room() -> None:
    """Nor does a look at its statistics, or a leave; speaking does."""
    async with open_hub() as hub:
        room = hub.room("tea")
        assert await room.members() == ()
        assert not await hub.leave("ada", "tea")
        room.statistics()
        assert hub.statistics().rooms == 0
        await room.broadcast("hello")
        assert hub.statistics().rooms == 1
        assert hub.rooms() == []


async def test_volatile_and_excluding_broadcasts_from_a_seat() -> None:
    """The same words as on the wire."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        bob, eve = connect(hub, "bob"), connect(hub, "eve")
        bob.join("tea")
        eve.join("tea")
        await settle()
        receipt = await ada.broadcast("typing", volatile=True, echo=False, except_=["eve"])
        assert receipt.seq is None
        await settle()
        assert bob.peer.of("tea")[-1] == "~ ada: typing"
        assert eve.peer.of("tea") == ["joined 2: ada bob eve"]
        assert heard(ada) == ["2 +bob", "3 +eve"]


def test_an_error_says_what_was_too_large() -> None:
    """The facts are its attributes."""
    error = TooLargeError("the info", 7, 4)
    assert str(error) == "the info takes 7 bytes as JSON (limit: 4)"
