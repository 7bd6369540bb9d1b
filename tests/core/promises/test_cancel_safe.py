"""Cancelling any await leaves no ghost member and no stuck caller.

A call can be cancelled before it has asked, between asking and the room's
turn (`Clock.then` runs at that very moment), while it stands in line, or once
the room has done it (`Stopwatch.then`, at the end of the turn).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import pytest
import trio
import trio.testing

from roomactors.core.commands import Broadcast
from roomactors.core.hub import Hub
from roomactors.core.settings import RoomSettings
from roomactors.errors import ClosedHubError, DrainingError
from tests.core.fakes import Clock, Stopwatch, connect, heard, line, open_hub, settle, text

Call: TypeAlias = Callable[[Hub], Awaitable[object]]


async def enter(hub: Hub) -> None:
    async with hub.room("tea").join("new"):
        pass


async def speak(hub: Hub) -> None:
    async with hub.room("tea").join("new") as seat:
        await seat.broadcast("hello")


CALLS: dict[str, Call] = {
    "RoomHandle.broadcast": lambda hub: hub.room("tea").broadcast("hello"),
    "RoomHandle.members": lambda hub: hub.room("tea").members(),
    "RoomHandle.join": enter,
    "Hub.broadcast": lambda hub: hub.broadcast("hello"),
    "Hub.join": lambda hub: hub.join("client", "tea"),
    "Hub.leave": lambda hub: hub.leave("ada", "tea"),
}
every_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@every_call
async def test_a_call_cancelled_before_it_asks_does_nothing(call: Call) -> None:
    """The room is not even woken."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        connect(hub, "client")
        await settle()
        turns = hub.room("tea").statistics().turns
        with trio.CancelScope() as scope:
            scope.cancel()
            await call(hub)
        assert scope.cancelled_caught
        await settle()
        assert hub.room("tea").statistics().turns == turns
        assert hub.members() == ["ada", "client"]
        assert heard(ada) == []


@every_call
async def test_a_call_cancelled_at_the_last_moment_before_the_turn_is_not_done(
    call: Call,
) -> None:
    """The room has been woken, and finds that nobody waits for it any more."""
    clock = Clock()
    async with open_hub(clock=clock) as hub, hub.room("tea").join("ada") as ada:
        connect(hub, "client")
        await settle()
        with trio.CancelScope() as scope:
            clock.then = scope.cancel
            await call(hub)
        assert scope.cancelled_caught
        await settle()
        assert hub.room("tea").statistics().seq == 1
        assert hub.members() == ["ada", "client"]
        assert hub.rooms_of("client") == []
        assert ada.ended is None
        assert heard(ada) == []


@every_call
async def test_a_call_cancelled_while_it_stands_in_line_is_not_done(call: Call) -> None:
    """What stands behind it goes on, and nothing of it is left in the mailbox."""
    clock = Clock()
    room = RoomSettings(mailbox_commands=1)
    async with open_hub(clock=clock, room=room) as hub, hub.room("tea").join("ada") as ada:
        connect(hub, "client")
        await settle()

        def fill() -> None:
            for name in ("tea", "$all"):
                for number in range(4):
                    said = Broadcast(data=text(str(number)))
                    hub.keeper.post(name, said, origin=number, accepted=lambda: None)

        with trio.CancelScope() as scope:
            clock.then = scope.cancel
            fill()
            await call(hub)
        assert scope.cancelled_caught
        fill()
        await settle()
        said = [f"{number}" for number in range(4)] * 2
        assert [line.split(": ")[1] for line in heard(ada)] == said + said
        assert hub.members() == ["ada", "client"]
        assert hub.rooms_of("client") == []
        look = hub.room("tea").statistics()
        assert (look.mailbox_commands, look.mailbox_waiting) == (0, 0)


@every_call
async def test_what_the_room_has_done_is_not_hidden_by_a_cancellation(call: Call) -> None:
    """The answer is returned; the cancellation comes at the next checkpoint."""
    clock, stopwatch = Clock(), Stopwatch()
    async with (
        open_hub(clock=clock, stopwatch=stopwatch) as hub,
        hub.room("tea").join("ada"),
        hub.room("jam").join("new"),
    ):
        connect(hub, "client")
        await settle()
        with trio.CancelScope() as scope:
            clock.then = lambda: setattr(stopwatch, "then", scope.cancel)
            await call(hub)
            assert scope.cancel_called
        assert not scope.cancelled_caught


@every_call
@pytest.mark.parametrize("mailbox", [1, 1024])
async def test_a_call_may_be_cancelled_at_any_step_of_any_task(call: Call, mailbox: int) -> None:
    """Whichever it is: done or not done, and nobody is left who is not there."""
    outcomes = set()
    for at in range(40):
        room = RoomSettings(mailbox_commands=mailbox)
        async with open_hub(room=room) as hub, hub.room("tea").join("ada") as ada:
            client = connect(hub, "client")
            await settle()
            with trio.CancelScope() as scope:

                class AtStep(trio.abc.Instrument):
                    left = at

                    def before_task_step(self, task: trio.lowlevel.Task) -> None:
                        self.left -= 1
                        if self.left < 0:
                            scope.cancel()

                instrument = AtStep()
                trio.lowlevel.add_instrument(instrument)
                await call(hub)
            trio.lowlevel.remove_instrument(instrument)
            await settle()
            lines = heard(ada)
            outcomes.add(bool(lines) or ada.ended is not None)
            assert hub.members() == ["ada", "client"]
            present = {view.member for view in await hub.room("tea").members()}
            assert present == {name for name in hub.members() if hub.rooms_of(name)}
            assert ("ada" in present) == (ada.ended is None)
            assert sum("+new" in line for line in lines) == sum("-new" in line for line in lines)
            assert sum("hello" in line for line in lines) <= 1
            client.hang_up()
    assert outcomes == ({False} if call is CALLS["RoomHandle.members"] else {False, True})


async def test_a_broadcast_from_a_seat_may_be_cancelled_before_the_turn() -> None:
    """It is not sent, and the seat goes on."""
    clock = Clock()
    async with open_hub(clock=clock) as hub, hub.room("tea").join("ada") as ada:
        with trio.CancelScope() as scope:
            clock.then = scope.cancel
            await ada.broadcast("never mind")
        assert scope.cancelled_caught
        await ada.broadcast("hello")
        assert heard(ada) == ["2 ada: hello"]


async def test_a_cancelled_receive_loses_nothing() -> None:
    """While it waits, at the moment something comes, and when something is there."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        with trio.move_on_after(0):
            await ada.receive()
        await hub.room("tea").broadcast("one")
        with trio.CancelScope() as scope:
            scope.cancel()
            await ada.receive()
        assert scope.cancelled_caught
        assert line(await ada.receive()) == "tea 2 *: one"

        got = []
        scope = trio.CancelScope()

        async def receive() -> None:
            with scope:
                got.append(line(await ada.receive()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await settle()
            await hub.room("tea").broadcast("two")
            scope.cancel()
        got += [f"tea {said}" for said in heard(ada)]
        assert got == ["tea 3 *: two"]


async def test_leaving_a_seat_or_a_hub_s_member_is_no_checkpoint() -> None:
    """It reaches the room even in a scope that is cancelled."""
    async with open_hub() as hub, hub.room("tea").join("ada") as ada:
        with trio.CancelScope() as scope:
            block = hub.room("tea").join("bob")
            await block.__aenter__()
            scope.cancel()
            with trio.testing.assert_no_checkpoints():
                await block.__aexit__(None, None, None)
        await settle()
        assert heard(ada) == ["2 +bob", "3 -bob left"]
        with trio.testing.assert_no_checkpoints():
            hub.disconnect("ada")


async def test_a_cancelled_hub_answers_everyone() -> None:
    """Callers elsewhere learn that it is stopping; seats elsewhere, that they are closed."""
    scope = trio.CancelScope()
    ready = trio.Event()
    answers: list[str] = []
    hub: Hub | None = None

    async def serve() -> None:
        nonlocal hub
        with scope:
            async with open_hub() as hub:
                ready.set()
                await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await ready.wait()
        assert hub is not None
        async with hub.room("tea").join("ada") as ada:

            async def ask(hub: Hub) -> None:
                with pytest.raises((DrainingError, ClosedHubError)):
                    await hub.room("tea").broadcast("too late")
                answers.append("refused")

            async def listen() -> None:
                async for _ in ada:
                    raise AssertionError
                answers.append(str(ada.ended))

            nursery.start_soon(listen)
            await settle()
            scope.cancel()
            nursery.start_soon(ask, hub)
            await settle()
    assert sorted(answers) == ["closed", "refused"]


async def test_those_who_wait_in_a_hub_that_is_cancelled_are_answered() -> None:
    """Their commands were in the mailbox or in line, and the turn never came."""
    answers: list[str] = []

    async def ask(hub: Hub) -> None:
        with trio.CancelScope(shield=True), pytest.raises(DrainingError):
            await hub.room("tea").broadcast("too late")
        answers.append("refused")

    room = RoomSettings(mailbox_commands=1)
    with trio.CancelScope() as scope:
        async with open_hub(room=room) as hub, trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask, hub)
            scope.cancel()
    assert answers == ["refused"] * 3
