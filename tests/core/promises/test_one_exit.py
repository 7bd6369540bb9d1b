"""For each `member_joined` that others saw there is exactly one `member_left`, with its reason."""

from __future__ import annotations

from collections import Counter

import pytest
import trio

from roomactors.core.hub import Hub
from roomactors.core.settings import RoomSettings
from tests.core.fakes import connect, heard, open_hub, settle


async def test_however_often_and_in_how_many_ways_one_goes() -> None:
    """A leave, a kick, a second leave and the end of the connection, all in one turn."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        bob = connect(hub, "bob")
        bob.join("tea")
        await settle()
        bob.leave("tea")
        bob.leave("tea")
        hub.disconnect("bob")
        bob.hang_up()
        await settle()
        assert heard(ada) == ["2 +bob", "3 -bob left"]


async def test_a_connection_that_is_lost_leaves_every_room_once() -> None:
    """With the reason that says so."""
    async with open_hub() as hub:
        watchers = [connect(hub, f"watcher of {name}") for name in "abc"]
        bob = connect(hub, "bob")
        for watcher in watchers:
            watcher.join(watcher.id[-1])
            bob.join(watcher.id[-1])
        await settle()
        bob.hang_up()
        await settle()
        for watcher in watchers:
            assert watcher.peer.of(watcher.id[-1])[1:] == ["2 +bob", "3 -bob disconnected"]


async def test_a_write_that_fails_is_an_exit() -> None:
    """Of that member, in all its rooms; a fan-out that is under way goes on."""
    async with open_hub() as hub:
        ada, bob, eve = (connect(hub, name) for name in ("ada", "bob", "eve"))
        for client in (ada, bob, eve):
            client.join("tea")
        bob.join("jam")
        await settle()
        bob.peer.error = BrokenPipeError()
        ada.say("tea", "hello")
        await settle()
        for client in (ada, eve):
            assert client.peer.of("tea")[-2:] == ["4 ada: hello", "5 -bob disconnected"]
        assert hub.rooms() == ["tea"]


@pytest.mark.parametrize("how", ["returns", "raises", "is cancelled"])
async def test_a_block_that_is_left_in_any_way_is_one_exit(how: str) -> None:
    """Leaving it reaches the room in any case."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        with trio.CancelScope() as scope:
            try:
                async with hub.room("tea").join("bob"):
                    if how == "raises":
                        raise KeyError(how)
                    if how == "is cancelled":
                        scope.cancel()
                        await trio.sleep_forever()
            except KeyError:
                pass
        await settle()
        reason = "left" if how == "returns" else "disconnected"
        assert heard(ada) == ["2 +bob", f"3 -bob {reason}"]


async def test_a_late_leave_of_an_earlier_seat_removes_nobody() -> None:
    """The seat is the token, not the id."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        bob = connect(hub, "bob")
        bob.join("tea")
        await settle()
        first = bob.peer.members["tea"]
        bob.leave("tea")
        bob.join("tea")
        hub.keeper.leave_now(first, "disconnected")
        await settle()
        assert heard(ada) == ["2 +bob", "3 -bob left", "4 +bob"]
        assert hub.rooms_of("bob") == ["tea"]


async def test_who_was_never_in_never_left() -> None:
    """A join that was refused or given up, or whose connection was lost, is seen by nobody."""
    async with (
        open_hub(room=RoomSettings(max_members=2)) as hub,
        hub.room("tea").join("ada") as ada,
    ):
        bob, dan, fay = (connect(hub, name) for name in ("bob", "dan", "fay"))
        bob.join("tea")
        bob.hang_up()
        dan.join("tea").abandoned = True
        async with hub.room("tea").join("eve"):
            fay.join("tea")
            await settle()
        await settle()
        assert heard(ada) == ["2 +eve", "3 -eve left"]


def exits_are_arrivals(lines: list[str]) -> bool:
    """Whether each member that came has gone once, and nobody else."""
    came = Counter(line.split("+")[1] for line in lines if " +" in line)
    went = Counter(line.split("-")[1].split()[0] for line in lines if " -" in line)
    return came == went


async def leave_at_once(hub: Hub, size: int) -> list[str]:
    """So many join and are lost in one moment; what one who stays hears."""
    async with hub.room("tea").join("stays") as stays:
        crowd = [connect(hub, f"m{number}") for number in range(size)]
        for client in crowd:
            client.join("tea")
        await settle()
        lines = heard(stays)
        for client in crowd:
            client.hang_up()
        await settle()
        assert hub.room("tea").statistics().members == 1
        return lines + heard(stays)


async def test_a_crowd_of_2000_that_leaves_at_once() -> None:
    """Each exit is said once, with its reason; the room is left with who stays."""
    room = RoomSettings(log_messages=10_000, log_bytes=10_000_000)
    async with open_hub(room=room) as hub:
        lines = await leave_at_once(hub, 2000)
        assert len(lines) == 4000
        assert exits_are_arrivals(lines)
        assert all(line.endswith(" disconnected") for line in lines[2000:])
        assert hub.members() == []
