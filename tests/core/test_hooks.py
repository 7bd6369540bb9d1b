"""What a program is told of, outside any turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
import trio

from roomactors.core.hooks import Hooks
from roomactors.core.settings import HubSettings
from tests.core.fakes import connect, open_hub, settle


class Told:
    """Hooks that write down what they are told."""

    def __init__(self) -> None:
        self.all: list[str] = []

    def hooks(self) -> Hooks:
        def note(what: str) -> Callable[[str], Awaitable[None]]:
            async def hook(subject: str) -> None:
                self.all.append(f"{what} {subject}")

            return hook

        return Hooks(
            connected=note("connected"),
            disconnected=note("disconnected"),
            room_occupied=note("occupied"),
            room_vacated=note("vacated"),
        )


async def test_each_coming_and_going_is_told_once_and_in_order() -> None:
    """Members by their first and last hold, rooms by their first and last member."""
    told = Told()
    async with open_hub(hooks=told.hooks()) as hub:
        async with AsyncExitStack() as held:
            for name in ("tea", "jam"):
                await held.enter_async_context(hub.room(name).join("ada"))
            async with hub.room("tea").join("bob"):
                pass
        await settle()
        assert told.all[:3] == ["connected ada", "occupied tea", "occupied jam"]
        assert told.all[3:5] == ["connected bob", "disconnected bob"]
        assert sorted(told.all[5:]) == ["disconnected ada", "vacated jam", "vacated tea"]


async def test_hooks_may_take_their_time_and_use_the_hub() -> None:
    """No room waits for them; the next is called when the one before is done."""
    greeted: list[str] = []

    async def greet(member: str) -> None:
        await trio.lowlevel.checkpoint()
        await hub.broadcast(f"welcome {member}")
        greeted.append(member)

    async with open_hub(hooks=Hooks(connected=greet)) as hub:
        ada, bob = connect(hub, "ada"), connect(hub, "bob")
        ada.join("tea")
        said = ada.say("tea", "hello")
        await settle()
        await settle()
        assert said.value is not None
        assert greeted == ["ada", "bob"]
        assert bob.peer.of("$all") == ["1 *: welcome ada", "2 *: welcome bob"]


async def test_a_hook_that_fails_is_reported_and_the_next_is_called(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With its traceback; rooms never notice."""
    called = []

    async def fail(member: str) -> None:
        called.append(member)
        raise ValueError("a bug of the program")

    async with open_hub(hooks=Hooks(connected=fail)) as hub:
        connect(hub, "ada")
        connect(hub, "bob")
        await settle()
        assert called == ["ada", "bob"]
        assert "a hook failed for 'ada'" in caplog.text
        assert "a bug of the program" in caplog.text


async def test_notifications_that_wait_for_a_slow_hook_have_a_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Above it they are counted, and reported once."""
    go_on = trio.Event()
    called = []

    async def wait(member: str) -> None:
        called.append(member)
        await go_on.wait()

    async with open_hub(HubSettings(hook_queue=2), hooks=Hooks(connected=wait)) as hub:
        connect(hub, "0")
        await settle()
        for number in range(1, 6):
            connect(hub, str(number))
        assert hub.statistics().hooks_missed == 3
        assert caplog.text.count("a hook is too slow") == 1
        go_on.set()
        await settle()
        assert called == ["0", "1", "2"]
