"""Between join and leave a member sees every event addressed to it, or an explicit gap."""

from __future__ import annotations

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from roomactors.core.settings import RoomSettings
from tests.core.fakes import Stopwatch, connect, heard, open_hub, settle
from tests.core.promises.world import ACCEPTS, LOCAL, Step, World, missing, plain, steps


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(steps(), ACCEPTS, st.sampled_from([200, 1_000_000]))
async def test_each_member_receives_exactly_the_run_that_is_addressed_to_it(
    does: list[Step], accepts: list[tuple[str, int]], turn_bytes: int
) -> None:
    """Whatever others do, however its socket takes it, and wherever a turn is cut."""
    stopwatch = Stopwatch()
    async with open_hub(room=RoomSettings(turn_bytes=turn_bytes), stopwatch=stopwatch) as hub:
        world = World(hub, stopwatch, accepts)
        trio.lowlevel.add_instrument(world)
        for step in does:
            await world.do(step)
        got = await world.heard()
        trio.lowlevel.remove_instrument(world)
    must = world.model.hear
    for name, lines in got.items():
        assert lines == (plain(must[name]) if name == LOCAL else must[name])
    for all_of_it, lines in world.past:
        assert lines == all_of_it[: len(lines)]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(steps(without=["hang up"]), ACCEPTS, st.integers(1, 5), st.integers(1, 3))
async def test_what_a_slow_member_lost_is_exactly_what_its_gaps_say(
    does: list[Step], accepts: list[tuple[str, int]], messages: int, floor: int
) -> None:
    """With a log of a few events: each line comes, or lies in a gap; never both, never neither."""
    stopwatch = Stopwatch()
    room = RoomSettings(log_messages=messages, log_floor=floor)
    async with open_hub(room=room, stopwatch=stopwatch) as hub:
        world = World(hub, stopwatch, accepts)
        trio.lowlevel.add_instrument(world)
        for step in does:
            await world.do(step)
        got = await world.heard()
        trio.lowlevel.remove_instrument(world)
    for name, lines in got.items():
        must = world.model.hear[name]
        assert missing(plain(must) if name == LOCAL else must, lines) == []


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(steps("volatile", "volatile", without=["stall", "hang up"]))
async def test_volatile_messages_reach_all_who_keep_up_in_their_place(does: list[Step]) -> None:
    """Between the same two events for everybody."""
    stopwatch = Stopwatch()
    async with open_hub(stopwatch=stopwatch) as hub:
        world = World(hub, stopwatch)
        for step in does:
            await world.do(step)
        got = await world.heard()
    for name, lines in got.items():
        if name != LOCAL:
            assert lines == world.model.hear[name]


async def test_a_member_served_between_two_slices_gets_each_event_once() -> None:
    """Its own connection caught it up from the log; the fan-out then passes it over."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()

        def catch_up() -> None:
            # While the room writes to ada, bob's connection has something of its own to flush.
            ada.peer.when_written = lambda: None
            bob.peer.flush()

        ada.peer.when_written = catch_up
        ada.say("tea", "once")
        await settle()
        assert bob.peer.of("tea") == ["joined 1: ada bob", "3 ada: once"]


async def test_a_member_apart_served_between_two_slices_gets_each_event_once() -> None:
    """What it hears differs from what the others hear, but that it is heard once does not."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        ada.peer.when_written = bob.peer.flush
        ada.say("tea", "one", echo=False)
        bob.say("tea", "two", echo=False)
        await settle()
        assert ada.peer.of("tea")[-1] == "4 bob: two"
        assert bob.peer.of("tea") == ["joined 1: ada bob", "3 ada: one"]


async def test_a_cut_frame_is_finished_and_the_rest_is_read_from_the_log() -> None:
    """Byte by byte, and nothing is kept but the rest of one frame."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = 5
        for words in ("one", "two", "three"):
            ada.say("tea", words)
        await settle()
        for _ in range(200):
            bob.peer.accept(1)
        assert bob.peer.of("tea")[1:] == ["3 ada: one", "4 ada: two", "5 ada: three"]


async def test_a_member_served_apart_that_comes_free_within_the_turn_misses_nothing() -> None:
    """Cut in the middle of a turn, it is behind for the rest of it, however free its socket is."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        bob.peer.window = 5
        for words in ("one", "two", "three"):
            ada.say("tea", words)
        # A second join in the same turn gives bob what there is so far: five bytes of it.
        bob.join("tea").then = lambda: setattr(bob.peer, "window", None)
        ada.say("tea", "four")
        await settle()
        assert bob.peer.of("tea")[1:] == [
            "3 ada: one",
            "4 ada: two",
            "5 ada: three",
            "joined 5: ada bob",
            "6 ada: four",
        ]


async def test_a_seat_that_falls_out_of_the_log_is_told_so_once() -> None:
    """One gap with its range, whether the roster may have changed, and then what is kept."""
    room = RoomSettings(log_messages=1, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("ada") as ada:
        async with hub.room("tea").join("bob"):
            for words in ("one", "two", "three"):
                await hub.room("tea").broadcast(words)
        await settle()
        assert heard(ada) == ["gap 2-4 roster", "5 *: three", "6 -bob left"]


async def test_who_keeps_up_loses_nothing_in_a_turn_that_is_larger_than_the_log() -> None:
    """It had no chance to read earlier; the next turn may let go of it."""
    room = RoomSettings(log_messages=2, log_floor=1)
    async with open_hub(room=room) as hub, hub.room("tea").join("here") as here:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        assert heard(here) == ["2 +ada"]
        for number in range(6):
            ada.say("tea", str(number))
        await settle()
        assert heard(here) == [f"{number + 3} ada: {number}" for number in range(6)]


@pytest.mark.parametrize("blocked", [True, False])
async def test_nobody_is_excluded_from_more_than_was_said(blocked: bool) -> None:
    """Live or from the log: who is excluded from one event gets its neighbours."""
    async with open_hub() as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        bob.join("tea")
        await settle()
        if blocked:
            bob.peer.window = 0
        for words, excluded in (("one", ""), ("two", "bob"), ("three", "")):
            ada.say("tea", words, excluded=frozenset({excluded}))
        await settle()
        bob.peer.accept(None)
        assert bob.peer.of("tea")[1:] == ["3 ada: one", "5 ada: three"]
