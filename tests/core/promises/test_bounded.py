"""Every queue, buffer, size, rate, count and wait has a limit."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from roomactors.core.budget import SLICE_SECONDS
from roomactors.core.commands import COMMAND_BYTES
from roomactors.core.fanout import LOOK_EVERY
from roomactors.core.log import ENTRY_BYTES
from roomactors.core.room import FRAME_BYTES
from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import BusyError, RoomFullError, TooLargeError, TooManyRoomsError
from tests.core.fakes import Passes, Stopwatch, connect, heard, open_hub, settle


async def test_a_mailbox_takes_so_many_commands_and_bytes() -> None:
    """What finds no place waits where it came from, and gets one later."""
    for bounds in (
        RoomSettings(mailbox_commands=5),
        RoomSettings(mailbox_bytes=5 * (COMMAND_BYTES + 5)),
        RoomSettings(mailbox_share=5),
    ):
        async with open_hub(room=bounds) as hub:
            ada = connect(hub, "ada")
            ada.join("tea")
            await settle()
            accepted: list[int] = []
            waits = [
                ada.flood("tea", "hello", partial(accepted.append, number)) is not None
                for number in range(8)
            ]
            look = hub.room("tea").statistics()
            assert (look.mailbox_commands, look.mailbox_waiting) == (5, 3)
            assert look.mailbox_bytes == 5 * (COMMAND_BYTES + 5)
            assert waits == [False] * 5 + [True] * 3
            await settle()
            assert accepted == [5, 6, 7]
            assert hub.room("tea").statistics().seq == 9


async def test_a_call_that_finds_no_place_waits_for_one() -> None:
    """It is not refused, and it is not forgotten."""
    async with open_hub(room=RoomSettings(mailbox_commands=1)) as hub:
        receipts: list[int | None] = []

        async def say() -> None:
            receipts.append((await hub.room("tea").broadcast("hello")).seq)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(say)
        assert sorted(seq for seq in receipts if seq is not None) == [*range(1, 11)]


async def test_a_log_keeps_so_many_messages_and_bytes_and_seconds(
    autojump_clock: MockClock,
) -> None:
    """Whichever is met first; a floor of events is kept in any case."""
    for bounds, kept in (
        (RoomSettings(log_messages=5, log_floor=1), 5),
        (RoomSettings(log_bytes=5 * (ENTRY_BYTES + 5), log_floor=1), 5),
        (RoomSettings(log_seconds=4, log_floor=1), 5),
        (RoomSettings(log_seconds=1, log_messages=1, log_bytes=1, log_floor=5), 5),
    ):
        async with open_hub(room=bounds) as hub:
            for _ in range(12):
                await hub.room("tea").broadcast("hello")
                await trio.sleep(1)
            assert hub.room("tea").statistics().log_events == kept


async def test_frames_count_in_the_log() -> None:
    """What is kept to be written once more is memory like the event itself."""
    words = "x" * 1000
    frame = len(f"tea 10 *: {words}\n")
    room = RoomSettings(log_bytes=5 * (ENTRY_BYTES + 1000 + frame), log_floor=1)
    async with open_hub(room=room) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        for _ in range(20):
            await hub.room("tea").broadcast(words)
        assert hub.room("tea").statistics().log_events == 5


async def test_a_turn_writes_so_many_bytes() -> None:
    """No write is larger, but for one event that is."""
    sizes: list[int] = []
    async with open_hub(room=RoomSettings(turn_bytes=2 * FRAME_BYTES)) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        last = len(ada.peer.wire)

        def written() -> None:
            nonlocal last
            sizes.append(len(ada.peer.wire) - last)
            last = len(ada.peer.wire)

        ada.peer.when_written = written
        for _ in range(10):
            ada.say("tea", "hello")
        await settle()
        written()
        assert max(sizes) == len(b"tea 8 ada: hello\ntea 9 ada: hello\n") + 2
        assert ada.peer.of("tea")[-1] == "11 ada: hello"


async def test_a_slice_of_work_is_so_long() -> None:
    """Then the loop goes round, in the middle of a fan-out as well."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        clients = [connect(hub, str(number)) for number in range(2 * LOOK_EVERY)]
        for client in clients:
            client.join("tea")
        await settle()
        passes = Passes()
        trio.lowlevel.add_instrument(passes)
        at = []

        def written() -> None:
            stopwatch.work(SLICE_SECONDS / LOOK_EVERY)
            at.append(passes.count)

        for client in clients:
            client.peer.when_written = written
        clients[0].say("tea", "hello")
        await settle()
        assert [at.count(number) for number in sorted(set(at))] == [LOOK_EVERY] * 2


async def test_a_slow_member_costs_the_rest_of_one_frame() -> None:
    """What it keeps beside the log does not grow with what it missed."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = 5
        for _ in range(100):
            ada.say("tea", "x" * 50)
        await settle()
        kept = bob.peer.kept
        for _ in range(100):
            ada.say("tea", "x" * 50)
        await settle()
        assert bob.peer.kept == kept < 100


async def test_volatile_messages_that_wait_are_so_many() -> None:
    """The oldest make way."""
    settings = HubSettings(volatile_queue=3)
    async with open_hub(settings) as hub, hub.room("tea").join("ada") as ada:
        for number in range(10):
            await hub.room("tea").broadcast(str(number), volatile=True)
        assert heard(ada) == ["~ *: 7", "~ *: 8", "~ *: 9"]


async def test_members_rooms_and_sizes_have_their_limits() -> None:
    """One over each is refused with the error that is named for it; at the limit it is taken."""
    settings = HubSettings(
        max_rooms=2,
        max_rooms_per_member=1,
        data_bytes=5,
        info_bytes=5,
        room=RoomSettings(max_members=1),
    )
    async with open_hub(settings) as hub, hub.room("tea").join("ada", info="12345") as ada:
        await ada.broadcast("12345")
        with pytest.raises(TooLargeError):
            await ada.broadcast("123456")
        with pytest.raises(TooLargeError):
            await hub.room("jam").join("bob", info="123456").__aenter__()
        with pytest.raises(RoomFullError):
            await hub.room("tea").join("bob").__aenter__()
        with pytest.raises(TooManyRoomsError):
            await hub.room("jam").join("ada").__aenter__()
        with pytest.raises(BusyError):
            await hub.room("ice").broadcast("12345")


async def test_an_empty_room_has_so_many_seconds(autojump_clock: MockClock) -> None:
    """And not one more."""
    async with open_hub(room=RoomSettings(linger_seconds=7)) as hub:
        async with hub.room("tea").join("ada"):
            pass
        await settle()
        await trio.sleep(6.9)
        assert hub.statistics().rooms == 2
        await trio.sleep(0.2)
        assert hub.statistics().rooms == 0


async def test_a_stopping_hub_has_so_many_seconds(autojump_clock: MockClock) -> None:
    """A room that does not come to an end does not keep it."""
    async with open_hub(HubSettings(drain_seconds=3)) as hub:
        await hub.room("tea").broadcast("hello")
        hub.keeper.rooms["tea"].mailbox.wait = trio.sleep_forever  # type: ignore[method-assign]
        await settle()
        await hub.room("jam").broadcast("hello")
        began = trio.current_time()
    assert trio.current_time() == began + 3
