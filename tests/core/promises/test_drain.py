"""On stop what was accepted is finished, and every waiting caller gets an answer, in time."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from roomactors.core.commands import Receipt
from roomactors.core.hub import Hub
from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import BrokenRoomError, ClosedHubError, ClosedSeatError, DrainingError
from tests.core.fakes import Client, Outcome, Stopwatch, connect, heard, open_hub, settle


async def test_what_was_accepted_is_done_and_heard() -> None:
    """All of it, in the mailbox and in line, by those who keep up; and nothing after."""
    async with open_hub(room=RoomSettings(mailbox_commands=3, turn_bytes=400)) as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        outcomes = [ada.say("tea", str(number)) for number in range(20)]
    assert [outcome.value.seq for outcome in outcomes if outcome.value] == [*range(3, 23)]
    assert bob.peer.of("tea") == [
        "joined 1: ada bob",
        *(f"{number + 3} ada: {number}" for number in range(20)),
        "left: closed",
    ]
    with pytest.raises(ClosedHubError):
        ada.say("tea", "after")


async def test_nothing_new_is_taken_while_it_drains() -> None:
    """Neither a command, nor a member, nor a room."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        refused: list[str] = []

        def try_all() -> None:
            for attempt in (
                lambda: ada.say("tea", "more"),
                lambda: connect(hub, "bob"),
                lambda: ada.join("jam"),
            ):
                with pytest.raises(DrainingError):
                    attempt()
                refused.append("draining")

        ada.say("tea", "the last").then = try_all
        await hub.keeper.drain(1)
        assert refused == ["draining"] * 3
        assert ada.peer.of("tea")[-1] == "2 ada: the last"
        assert list(hub.keeper.rooms) == ["$all", "tea"]


async def test_departures_are_not_announced_in_a_drain() -> None:
    """A thousand goodbyes would only be in the way of what has been said."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        await hub.keeper.drain(1)
        bob.hang_up()
        await settle()
        assert ada.peer.of("tea") == ["joined 0: ada", "2 +bob"]


async def test_a_room_that_hangs_is_ended_at_the_deadline_and_callers_are_answered(
    autojump_clock: MockClock,
) -> None:
    """The others' work is done before that."""
    async with open_hub(HubSettings(drain_seconds=3)) as hub:
        ada = connect(hub, "ada")
        ada.join("hangs")
        ada.join("tea")
        await settle()
        hub.keeper.rooms["hangs"].mailbox.wait = trio.sleep_forever  # type: ignore[method-assign]
        ada.say("hangs", "one more turn, and then it hangs")
        await settle()
        stuck = ada.say("hangs", "stuck")
        done = ada.say("tea", "done")
        began = trio.current_time()
    assert trio.current_time() == began + 3
    assert isinstance(stuck.error, DrainingError)
    assert done.value is not None
    assert ada.peer.of("hangs")[-1] == "left: closed"


async def test_a_room_that_fails_while_it_drains_holds_up_nobody(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its callers are answered, and the other rooms finish what they took."""
    stopwatch = Stopwatch()

    def fail() -> None:
        raise ValueError("a bug")

    # One command a turn, so that the drain's own question is still waiting.
    async with open_hub(stopwatch=stopwatch, room=RoomSettings(turn_bytes=1)) as hub:
        ada = connect(hub, "ada")
        for name in ("tea", "jam"):
            ada.join(name)
        await settle()
        tea = [ada.say("tea", "hello") for _ in range(3)]
        jam = [ada.say("jam", "hello") for _ in range(3)]
        tea[0].then = lambda: setattr(stopwatch, "then", fail)
        began = trio.current_time()
    assert trio.current_time() == began
    assert [type(outcome.error) for outcome in tea[1:]] == [BrokenRoomError] * 2
    assert [outcome.value is not None for outcome in jam] == [True] * 3
    assert "room 'tea' failed and is closed" in caplog.text


async def test_a_drain_of_no_time_still_answers_everyone() -> None:
    """With a refusal, since nothing could be done any more."""
    async with open_hub(HubSettings(drain_seconds=0)) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        said = ada.say("tea", "hello")
        left = ada.leave("tea")
    assert said.done
    assert left.done


async def test_a_block_that_raises_ends_its_rooms_at_once() -> None:
    """Their callers are answered, their seats are closed, and the error comes out."""
    clients: list[Client] = []
    outcomes: list[Outcome[Receipt]] = []

    async def fail() -> None:
        async with open_hub() as hub:
            clients.append(connect(hub, "ada"))
            clients[0].join("tea")
            await settle()
            outcomes.append(clients[0].say("tea", "hello"))
            raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await fail()
    assert outcomes[0].done
    assert clients[0].peer.of("tea")[-1] == "left: closed"


async def test_seats_elsewhere_read_to_the_end_and_callers_elsewhere_are_answered() -> None:
    """The hub ends under them; nobody waits for ever."""
    ends: list[str] = []

    async def listen(hub: Hub, name: str) -> None:
        async with hub.room("tea").join(name) as seat:
            async for _ in seat:
                pass
            ends.append(f"{name} {seat.ended}")
            with pytest.raises(ClosedSeatError):
                await seat.receive()
            assert heard(seat) == []

    async with trio.open_nursery() as nursery, open_hub() as hub:
        for name in ("ada", "bob"):
            nursery.start_soon(listen, hub, name)
        await settle()
        await hub.room("tea").broadcast("the last")
    assert sorted(ends) == ["ada closed", "bob closed"]
