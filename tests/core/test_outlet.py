"""The outlet of a member in this process: it reads from the log when it is asked."""

from __future__ import annotations

import pytest
import trio

from roomactors.core.outlet import LocalOutlet
from roomactors.core.settings import HubSettings, RoomSettings
from tests.core.fakes import connect, heard, line, open_hub, settle


def test_an_outlet_without_a_write_takes_nothing() -> None:
    """A room that calls `send` where it may not has a bug, and learns of it."""
    outlet = LocalOutlet("ada", None, volatile_queue=1)
    assert not outlet.free
    with pytest.raises(BlockingIOError):
        outlet.send(b"hello")


async def test_a_seat_reads_on_where_it_was() -> None:
    """Own arrivals and what excludes it are passed over."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        await ada.broadcast("1")
        await ada.broadcast("2", echo=False)
        await hub.room("tea").broadcast("3", except_=["ada"])
        async with hub.room("tea").join("bob"):
            pass
        await settle()
        assert heard(ada) == ["2 ada: 1", "5 +bob", "6 -bob left"]


async def test_a_seat_that_is_behind_the_log_gets_one_gap() -> None:
    """And then what is kept."""
    room = RoomSettings(log_messages=2, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("ada") as ada:
        for number in range(5):
            await hub.room("tea").broadcast(str(number))
        assert heard(ada) == ["gap 2-4", "5 *: 3", "6 *: 4"]


async def test_volatile_messages_wait_for_a_reader_about_to_read() -> None:
    """In their place among the others, and none of those that exclude it."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada, hub.room("tea").join("bob"):
        assert heard(ada) == ["2 +bob"]
        carl = connect(hub, "carl")
        carl.join("tea")
        carl.say("tea", "one")
        carl.say("tea", "typing", volatile=True)
        carl.say("tea", "not for ada", volatile=True, excluded=frozenset({"ada"}))
        carl.say("tea", "two")
        await settle()
        assert heard(ada) == ["3 +carl", "4 carl: one", "~ carl: typing", "5 carl: two"]


async def test_volatile_messages_that_wait_have_a_bound() -> None:
    """The oldest go first; with a bound of none, none waits."""
    for bound, kept in ((2, ["~ *: 3", "~ *: 4"]), (0, [])):
        settings = HubSettings(volatile_queue=bound)
        async with open_hub(settings) as hub, hub.room("tea").join("ada") as ada:
            for number in range(5):
                await hub.room("tea").broadcast(str(number), volatile=True)
            assert heard(ada) == kept


async def test_a_volatile_message_is_not_for_who_is_behind() -> None:
    """It is not held back either for later."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        await hub.room("tea").broadcast("one")
        await hub.room("tea").broadcast("typing", volatile=True)
        assert heard(ada) == ["2 *: one"]


async def test_everyone_is_heard_in_the_oldest_seat() -> None:
    """Each member once; when that seat ends, in the next."""
    async with (
        open_hub() as hub,
        hub.room("jam").join("ada") as first,
        hub.room("tea").join("ada") as second,
    ):
        await hub.broadcast("1")
        assert heard(second) == []
        assert heard(first) == ["$all 1 *: 1"]
        await hub.leave("ada", "jam")
        await hub.broadcast("2")
        assert heard(first) == []
        assert heard(second) == ["$all 2 *: 2"]


async def test_a_reader_of_the_next_seat_is_woken_for_what_everyone_is_told() -> None:
    """Also where the message was there before that seat became the oldest."""
    async with (
        open_hub() as hub,
        hub.room("jam").join("ada"),
        hub.room("tea").join("ada") as second,
    ):
        await hub.broadcast("hello")
        got: list[str] = []

        async def read() -> None:
            got.append(line(await second.receive()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await settle()
            assert got == []
            await hub.leave("ada", "jam")
        assert got == ["$all 1 *: hello"]
