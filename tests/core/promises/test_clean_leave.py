"""`left` comes after all that a member gets of a room, and nothing of it comes after."""

from __future__ import annotations

import pytest

from roomactors.core.commands import Leave
from roomactors.core.events import LeftReason
from roomactors.errors import ClosedSeatError
from tests.core.fakes import Clock, connect, heard, line, open_hub, settle


@pytest.mark.parametrize("window", [None, 0, 7])
async def test_a_turn_that_holds_a_message_a_leave_and_a_message(window: int | None) -> None:
    """The first is heard, the second is not, whatever the socket takes at the time."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = window
        ada.say("tea", "before")
        bob.leave("tea")
        ada.say("tea", "after")
        await settle()
        bob.peer.accept(None)
        assert bob.peer.of("tea") == ["joined 1: ada bob", "3 ada: before", "left: left"]
        assert ada.peer.of("tea")[-3:] == ["3 ada: before", "4 -bob left", "5 ada: after"]


async def test_a_turn_that_begins_with_a_leave() -> None:
    """Nothing of that turn is for the one who left, though it had kept up until then."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.leave("tea")
        ada.say("tea", "after")
        await settle()
        assert bob.peer.of("tea") == ["joined 1: ada bob", "left: left"]


async def test_the_same_holds_for_a_seat_in_this_process() -> None:
    """It reads up to its end, and then learns the reason."""
    async with open_hub() as hub, hub.room("tea").join("bob") as bob:
        ada = connect(hub, "ada")
        ada.join("tea")
        ada.say("tea", "before")
        leave = Leave(member="bob", reason="kicked")
        hub.keeper.post("tea", leave, origin=ada, accepted=lambda: None)
        ada.say("tea", "after")
        await settle()
        assert [line(event) async for event in bob] == ["tea 2 +ada", "tea 3 ada: before"]
        assert bob.ended == "kicked"
        with pytest.raises(ClosedSeatError):
            bob.receive_nowait()


async def test_who_left_hears_nothing_more_however_long_the_room_goes_on() -> None:
    """Its seat has an end, and no room of it is served any more."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob", window=0)
        ada.join("tea")
        bob.join("tea")
        bob.join("jam")
        await settle()
        bob.leave("tea")
        for _ in range(5):
            ada.say("tea", "on and on")
            await settle()
        bob.say("jam", "elsewhere")
        await settle()
        bob.peer.accept(None)
        assert bob.peer.of("tea") == ["joined 1: ada bob", "left: left"]
        assert bob.peer.of("jam") == ["joined 0: bob", "2 bob: elsewhere"]


async def test_a_join_and_a_leave_in_one_turn() -> None:
    """The answer, what lay between, the end."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        await settle()
        ada.say("tea", "one")
        bob.join("tea")
        ada.say("tea", "two")
        bob.leave("tea")
        ada.say("tea", "three")
        await settle()
        assert bob.peer.of("tea") == ["joined 2: ada bob", "4 ada: two", "left: left"]
        assert ada.peer.of("tea")[-3:] == ["4 ada: two", "5 -bob left", "6 ada: three"]


async def test_who_is_excluded_and_leaves_in_one_turn() -> None:
    """What it was excluded from does not come at the end either."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.say("tea", "one", excluded=frozenset({"bob"}))
        ada.say("tea", "two")
        bob.leave("tea")
        await settle()
        assert bob.peer.of("tea") == ["joined 1: ada bob", "4 ada: two", "left: left"]


@pytest.mark.parametrize("reason", ["left", "kicked", "lagged", "closed"])
async def test_the_reason_is_the_one_that_the_others_hear(reason: LeftReason) -> None:
    """One word for the one who goes and for those who stay."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        bob = connect(hub, "bob")
        bob.join("tea")
        await settle()
        await hub.leave("bob", "tea", reason=reason)
        await settle()
        assert bob.peer.of("tea")[-1] == f"left: {reason}"
        assert heard(ada)[-1] == f"3 -bob {reason}"


async def test_a_room_that_fails_ends_its_seats_after_what_they_were_to_hear() -> None:
    """The events of the turn that failed were numbered, so they are heard."""
    clock = Clock()
    async with open_hub(clock=clock) as hub, hub.room("tea").join("here") as here:
        ada, bob = connect(hub, "ada"), connect(hub, "bob", window=0)
        ada.join("tea")
        bob.join("tea")
        await settle()
        said = ada.say("tea", "the last")
        said.then = lambda: setattr(hub.keeper.budget, "stopwatch", None)
        await settle()
        bob.peer.accept(None)
        for lines in (ada.peer.of("tea"), bob.peer.of("tea")):
            assert lines[-2:] == ["4 ada: the last", "left: closed"]
        assert heard(here)[-1] == "4 ada: the last"
        assert here.ended == "closed"
