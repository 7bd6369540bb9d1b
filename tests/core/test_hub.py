"""The hub as programs hold it."""

from __future__ import annotations

import re
from contextlib import AsyncExitStack

import pytest

from roomactors.core import hub as core_hub
from roomactors.core.settings import HubSettings
from roomactors.errors import (
    BrokenRoomError,
    ClosedHubError,
    ClosedSeatError,
    InvalidDataError,
    NoSuchMemberError,
    NotAMemberError,
    RoomFullError,
    RoomNameError,
    TooLargeError,
)
from tests.core.fakes import Clock, connect, heard, open_hub, settle, text


async def test_a_hub_works_with_what_it_brings_itself() -> None:
    """Its own clocks and epochs: random, and another one each time."""
    epochs = set()
    for _ in range(3):
        async with core_hub.open_hub(freeze=text) as hub, hub.room("tea").join("ada") as seat:
            receipt = await seat.broadcast("hello")
            epochs.add(receipt.epoch)
            event = await seat.receive()
            assert getattr(event, "at", 0) > 1_700_000_000_000
    assert len(epochs) == 3
    assert all(re.fullmatch(r"[\w-]{8}", epoch) for epoch in epochs)


async def test_what_its_block_raises_comes_out_as_it_is() -> None:
    """That rooms run in a nursery is nobody's business."""

    async def fail() -> None:
        async with open_hub() as hub:
            await hub.room("tea").broadcast("hello")
            raise RoomFullError("tea", 1)

    with pytest.raises(RoomFullError):
        await fail()


async def test_what_its_tasks_raise_at_once_comes_out_in_a_group() -> None:
    """Two failures are two."""
    clock = Clock()

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def fail() -> None:
        async with open_hub(clock=clock) as hub:
            clock.then = interrupt
            try:
                await hub.room("tea").broadcast("hello")
            finally:
                raise ValueError("and this")

    with pytest.raises(BaseExceptionGroup) as caught:
        await fail()
    assert {type(error) for error in caught.value.exceptions} == {KeyboardInterrupt, ValueError}


async def test_leaving_its_block_ends_the_seats_that_are_still_held() -> None:
    """They read what was there, and then learn that it is closed."""
    async with AsyncExitStack() as held:
        async with open_hub() as hub:
            room = hub.room("tea")
            seat = await held.enter_async_context(room.join("ada"))
            await room.broadcast("hello")
        assert (await seat.receive()).seq == 2
        with pytest.raises(ClosedSeatError, match="closed"):
            await seat.receive()
        with pytest.raises(ClosedHubError):
            await room.broadcast("hello")


async def test_a_name_is_checked_wherever_it_comes_in() -> None:
    """By `room`, `join` and `leave`; the room of everyone is the server's own."""
    async with open_hub() as hub:
        connect(hub, "ada")
        for name in ("", "$all"):
            with pytest.raises(RoomNameError):
                hub.room(name)
            with pytest.raises(RoomNameError):
                await hub.join("ada", name)
            with pytest.raises(RoomNameError):
                await hub.leave("ada", name)


async def test_who_is_where() -> None:
    """Rooms in the order of their first joins, a member's in the order of its own."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        await settle()
        bob.join("jam")
        await settle()
        ada.join("jam")
        await settle()
        assert hub.rooms() == ["tea", "jam"]
        assert hub.rooms_of("ada") == ["tea", "jam"]
        assert hub.rooms_of("bob") == ["jam"]
        assert hub.rooms_of("nobody") == []
        assert hub.members() == ["ada", "bob"]
        assert [view.member for view in await hub.room("jam").members()] == ["bob", "ada"]
        assert await hub.room("nowhere").members() == ()
        look = hub.statistics()
        assert (look.rooms, look.members, look.hooks_missed) == (3, 2, 0)


async def test_who_is_behind_a_member() -> None:
    """The user that it came with; None where nobody knows one."""
    async with open_hub() as hub, hub.room("tea").join("ada", user="Ada L."):
        connect(hub, "bob")
        assert [hub.user_of(name) for name in ("ada", "bob", "nobody")] == ["Ada L.", None, None]


async def test_everyone_gets_a_broadcast_once() -> None:
    """Whatever rooms they are in, none included; here and over the network."""
    async with open_hub() as hub, hub.room("tea").join("eve") as eve:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        for name in ("tea", "jam"):
            ada.join(name)
        await settle()
        heard(eve)
        receipt = await hub.broadcast("hello")
        await settle()
        assert (receipt.room, receipt.seq) == ("$all", 1)
        assert ada.peer.of("$all") == bob.peer.of("$all") == ["1 *: hello"]
        assert heard(eve) == ["$all 1 *: hello"]


async def test_everyone_is_heard_again_after_the_room_of_everyone_failed() -> None:
    """Whoever is connected has a seat in the next one; what failed is known to who sent it."""
    clock = Clock()

    def fail() -> None:
        raise ValueError("a bug")

    async with open_hub(clock=clock) as hub, hub.room("tea").join("eve") as eve:
        ada = connect(hub, "ada")
        await settle()
        clock.then = fail
        with pytest.raises(BrokenRoomError):
            await hub.broadcast("lost")
        assert heard(eve) == []
        connect(hub, "bob")
        await hub.broadcast("hello")
        await settle()
        assert ada.peer.of("$all") == ["1 *: hello"]
        assert heard(eve) == ["$all 1 *: hello"]


async def test_a_client_is_put_into_a_room() -> None:
    """It is told so, as if it had asked; a second time changes nothing but a given info."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        bob.join("tea")
        await hub.join("ada", "tea", info="a cat")
        await hub.join("ada", "tea")
        await hub.join("ada", "tea", info="two cats")
        await settle()
        assert ada.peer.of("tea") == ["joined 1: bob ada", "joined 2: bob ada", "joined 2: bob ada"]
        assert bob.peer.of("tea") == ["joined 0: bob", "2 +ada(a cat)", "3 =ada(two cats)"]


async def test_only_a_connected_client_can_be_put_into_a_room() -> None:
    """A member in this process would have a seat that nobody reads."""
    async with open_hub() as hub, hub.room("tea").join("ada"):
        for member in ("nobody", "ada"):
            with pytest.raises(NoSuchMemberError):
                await hub.join(member, "jam")
        assert hub.rooms_of("ada") == ["tea"]


async def test_a_member_is_taken_out_of_a_room() -> None:
    """It is told so, with the reason; whether it was in is the answer."""
    async with open_hub() as hub, hub.room("tea").join("eve") as eve:
        ada = connect(hub, "ada")
        ada.join("tea")
        assert await hub.leave("ada", "tea")
        assert not await hub.leave("ada", "tea")
        assert not await hub.leave("ada", "nowhere")
        assert await hub.leave("eve", "tea", reason="closed")
        await settle()
        assert ada.peer.of("tea") == ["joined 1: eve ada", "left: kicked"]
        assert heard(eve) == ["2 +ada", "3 -ada kicked"]
        assert eve.ended == "closed"


async def test_a_client_s_connection_is_ended() -> None:
    """Its rooms announce it, its outlet is told; a second time is no harm."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        hub.disconnect("ada")
        hub.disconnect("ada")
        hub.disconnect("nobody")
        await settle()
        assert ada.peer.ended == "kicked"
        assert ada.peer.of("tea")[-1] == "left: kicked"
        assert bob.peer.of("tea")[-1] == "3 -ada kicked"


async def test_a_member_in_this_process_is_ended() -> None:
    """All its seats end; who takes the id afterwards is another member, and hears everyone."""
    async with open_hub() as hub, hub.room("tea").join("ada") as seat:
        async with hub.room("jam").join("ada") as other:
            hub.disconnect("ada")
            hub.disconnect("ada")
            assert hub.members() == []
            await settle()
            assert (seat.ended, other.ended) == ("kicked", "kicked")
            async with hub.room("tea").join("ada") as later:
                await hub.broadcast("hello")
                assert heard(later) == ["$all 1 *: hello"]
                assert hub.rooms_of("ada") == ["tea"]
        with pytest.raises(NotAMemberError):
            await seat.broadcast("from beyond")


async def test_data_and_info_are_checked_before_anything_happens() -> None:
    """What cannot be sent is the caller's error, and nobody has heard of it."""
    async with open_hub(HubSettings(data_bytes=5, info_bytes=4)) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        async with hub.room("tea").join("bob", info="1234") as bob:
            for wrong, error in ((7, InvalidDataError), ("123456", TooLargeError)):
                with pytest.raises(error):
                    await hub.broadcast(wrong)
                with pytest.raises(error):
                    await hub.room("tea").broadcast(wrong)
                with pytest.raises(error):
                    await bob.broadcast(wrong)
                with pytest.raises(error):
                    await hub.join("ada", "tea", info=wrong)
                with pytest.raises(error):
                    await hub.room("jam").join("eve", info=wrong).__aenter__()
            await bob.broadcast("12345")
        await settle()
        assert ada.peer.of("tea") == [
            "joined 0: ada",
            "2 +bob(1234)",
            "3 bob: 12345",
            "4 -bob left",
        ]
        assert hub.members() == ["ada"]
