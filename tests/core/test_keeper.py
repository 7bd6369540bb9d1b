"""Rooms by name, and who is connected."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from roomactors.core.outlet import LocalOutlet
from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import BusyError, ClosedHubError, DrainingError, MemberIdTakenError
from tests.core.fakes import Clock, connect, open_hub, settle


def fail() -> None:
    raise ValueError("a bug")


async def test_an_id_is_connected_once() -> None:
    """A client's by a client, and not by a member in this process either; the other way as well."""
    async with open_hub() as hub:
        connect(hub, "ada")
        with pytest.raises(MemberIdTakenError):
            connect(hub, "ada")
        with pytest.raises(MemberIdTakenError):
            hub.keeper.hold_local_outlet("ada", None)
        bob = hub.keeper.hold_local_outlet("bob", None)
        with pytest.raises(MemberIdTakenError):
            connect(hub, "bob")
        assert hub.keeper.hold_local_outlet("bob", None) is bob


async def test_a_member_in_this_process_is_gone_with_its_last_handle() -> None:
    """Each hold counts."""
    async with open_hub() as hub:
        outlet = hub.keeper.hold_local_outlet("ada", None)
        hub.keeper.hold_local_outlet("ada", None)
        hub.keeper.release_local_outlet(outlet)
        assert hub.members() == ["ada"]
        hub.keeper.release_local_outlet(outlet)
        assert hub.members() == []
        assert hub.keeper.hold_local_outlet("ada", None) is not outlet


async def test_who_is_gone_has_left_its_rooms() -> None:
    """Telling it twice is no harm, nor is a later one of the same id touched by it."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        for name in ("tea", "jam"):
            ada.join(name)
        await settle()
        ada.hang_up()
        ada.hang_up()
        await settle()
        assert hub.rooms() == []
        later = connect(hub, "ada")
        later.join("tea")
        ada.hang_up()
        await settle()
        assert hub.rooms_of("ada") == ["tea"]


async def test_who_comes_and_goes_before_a_turn_leaves_no_seat(autojump_clock: MockClock) -> None:
    """Its place in the room of everyone is refused, since it is closed."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.hang_up()
        await settle()
        await trio.sleep(6)
        assert hub.statistics().rooms == 0


async def test_a_leave_is_sent_once() -> None:
    """However often it is asked for, before the turn and after it."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        seat = ada.peer.members["tea"]
        hub.keeper.leave_now(seat, "kicked")
        hub.keeper.leave_now(seat, "left")
        assert len(hub.keeper.rooms["tea"].mailbox) == 1
        await settle()
        hub.keeper.leave_now(seat, "left")
        assert len(hub.keeper.rooms["tea"].mailbox) == 0


async def test_a_seat_that_ended_with_its_room_sends_no_leave_to_a_later_one() -> None:
    """Neither when no room of that name runs, nor when another one does."""
    clock = Clock()
    async with open_hub(clock=clock) as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        seat = ada.peer.members["tea"]
        clock.then = fail
        ada.say("tea", "hello")
        await settle()
        hub.keeper.leave_now(seat, "left")
        assert hub.rooms_of("ada") == []
        ada.join("tea")
        await settle()
        hub.keeper.leave_now(seat, "left")
        await settle()
        assert hub.rooms_of("ada") == ["tea"]


async def test_there_are_as_many_rooms_as_there_may_be(autojump_clock: MockClock) -> None:
    """The one over the limit is refused, who connects is not; one that vanishes makes room."""
    async with open_hub(HubSettings(max_rooms=1, room=RoomSettings(linger_seconds=5))) as hub:
        await hub.room("jam").broadcast("to nobody")
        async with hub.room("jam").join("ada"):
            with pytest.raises(BusyError):
                await hub.room("tea").broadcast("hello")
        with pytest.raises(BusyError):
            async with hub.room("tea").join("bob"):
                raise AssertionError
        assert hub.members() == []
        await trio.sleep(6)
        async with hub.room("tea").join("bob"):
            assert hub.rooms() == ["tea"]


async def test_no_limit_of_rooms_is_none() -> None:
    """Zero turns the bound off."""
    async with open_hub(HubSettings(max_rooms=0)) as hub:
        for name in "abc":
            await hub.room(name).broadcast("hello")
        assert hub.statistics().rooms == 3


async def test_a_stopping_hub_takes_nothing_new() -> None:
    """Neither commands nor members; what stops it is told apart."""
    async with open_hub() as hub:
        ada = connect(hub, "ada")
        hub.keeper.draining = True
        with pytest.raises(DrainingError):
            ada.join("tea")
        with pytest.raises(DrainingError):
            connect(hub, "bob")
        hub.keeper.draining = False
    with pytest.raises(ClosedHubError):
        ada.join("tea")
    with pytest.raises(ClosedHubError):
        hub.keeper.hold_local_outlet("bob", None)


async def test_a_local_outlet_s_unused_ways_do_nothing() -> None:
    """A room asks every outlet the same; this one has no frames and nothing to close."""
    async with open_hub() as hub, hub.room("tea").join("ada"):
        outlet = hub.keeper.outlets["ada"]
        assert isinstance(outlet, LocalOutlet)
        outlet.end("kicked")
        outlet.flush()
        assert hub.rooms_of("ada") == ["tea"]


async def test_a_task_that_fails_ends_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    """Its error is in the log; the hub and its rooms go on."""

    async def run() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("a bug")

    async with open_hub() as hub:
        hub.keeper.start_task(run, stop=fail, name="fails")
        await settle()
        assert "a bug" in caplog.text
        await hub.room("tea").broadcast("hello")


async def test_a_task_that_fails_when_it_is_cancelled_is_logged_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its error comes with the cancellation, in one group; the hub's block raises its own alone."""

    async def wait_and_fail() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("a bug")

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_and_fail)
            nursery.start_soon(trio.sleep_forever)

    async def use() -> None:
        async with open_hub() as hub:
            hub.keeper.start_task(run, stop=fail, name="fails")
            await settle()
            raise KeyError("mine")

    with pytest.raises(KeyError) as raised:
        await use()
    assert repr(raised.value) == "KeyError('mine')"
    assert "a bug" in caplog.text


async def test_a_hub_waits_for_its_tasks_once_its_rooms_are_done(
    autojump_clock: MockClock,
) -> None:
    """A task is stopped when all that was taken has been handed out, and ends in its own time."""
    stopped = trio.Event()
    seen = []

    async def run() -> None:
        await stopped.wait()
        await trio.sleep(4)
        seen.append("over")

    def stop() -> None:
        stopped.set()
        seen.append(ada.peer.of("tea")[-1])

    async with open_hub() as hub:
        ada = connect(hub, "ada")
        ada.join("tea")
        await settle()
        hub.keeper.start_task(run, stop=stop, name="writer")
        ada.say("tea", "hello")
        began = trio.current_time()
    assert seen == ["2 ada: hello", "over"]
    assert trio.current_time() - began == 4


async def test_a_hub_waits_for_its_tasks_no_longer_than_a_drain_may_take(
    autojump_clock: MockClock,
) -> None:
    """Then they are cancelled; a block that raises does not wait for them at all."""
    stopped = []

    def stop() -> None:
        stopped.append(trio.current_time() - began)

    async def use(error: Exception | None) -> None:
        async with open_hub(HubSettings(drain_seconds=3)) as hub:
            hub.keeper.start_task(trio.sleep_forever, stop=stop, name="stuck")
            if error is not None:
                raise error

    began = trio.current_time()
    await use(None)
    assert (stopped, trio.current_time() - began) == ([0], 3)
    with pytest.raises(KeyError):
        await use(KeyError())
    assert (stopped, trio.current_time() - began) == ([0], 3)
