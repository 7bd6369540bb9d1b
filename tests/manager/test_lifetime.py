"""How long a manager's tasks live: a block's length, or a hub's."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import roomactors
from roomactors import (
    ClosedHubError,
    ConnectionIdTakenError,
    ConnectionManager,
    DrainingError,
    HubSettings,
    RemovedReason,
    UnknownConnectionError,
)
from roomactors.core.member import Member
from roomactors.manager import connection
from tests.manager.fakes import put, recorder
from tests.manager.textbook import Peer

# A block


async def test_leaving_the_block_sends_what_was_broadcast(autojump_clock: MockClock) -> None:
    """For as long as one send may take, and to all connections at once."""
    slow = {f"slow {n}": Peer(seconds=4) for n in range(10)}
    stuck = Peer(seconds=3600)
    began = trio.current_time()
    async with ConnectionManager() as manager:
        await put(manager, "tea", **slow, stuck=stuck)
        for number in range(4):
            await manager.broadcast_to_room("tea", str(number))
    assert trio.current_time() - began == 10
    assert [peer.got for peer in slow.values()] == [["0", "1"]] * 10
    assert stuck.got == []


async def test_a_block_that_is_cancelled_ends_at_once(autojump_clock: MockClock) -> None:
    """Nothing is left behind, and nothing waited for."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    began = trio.current_time()
    async with roomactors.open_hub() as hub:
        with trio.CancelScope() as scope:
            async with ConnectionManager(hub) as manager:
                await put(manager, "tea", ada=Peer(seconds=5))
                await manager.broadcast_to_room("tea", "hello")
                await wait_all_tasks_blocked()
                scope.cancel()
                await trio.sleep_forever()
        await wait_all_tasks_blocked()
        assert hub.members() == []
        assert hub.rooms() == []
    assert trio.current_time() == began
    assert trio.lowlevel.current_statistics().tasks_living == tasks


@pytest.mark.parametrize("error", [ValueError("mine"), ExceptionGroup("mine", [ValueError()])])
async def test_what_the_block_raises_comes_out_as_it_is(error: Exception) -> None:
    """In no group but its own, whether the hub is the manager's or not."""
    with pytest.raises(type(error)) as own:
        async with ConnectionManager():
            raise error
    assert repr(own.value) == repr(error)
    async with roomactors.open_hub() as hub:
        with pytest.raises(type(error)) as given:
            async with ConnectionManager(hub):
                raise error
        assert repr(given.value) == repr(error)


async def test_what_is_no_exception_ends_the_block() -> None:
    """Raised by a hook, it comes out beside what the block itself raised."""

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        raise KeyboardInterrupt

    async def use() -> None:
        async with ConnectionManager(on_removed=on_removed) as manager:
            await put(manager, "tea", ada=Peer(error=OSError()))
            await manager.broadcast_to_room("tea", "hello")
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                raise ValueError from None

    with pytest.raises(BaseExceptionGroup) as raised:
        await use()
    assert raised.group_contains(KeyboardInterrupt)
    assert raised.group_contains(ValueError)


async def test_outside_its_block_a_manager_takes_nobody() -> None:
    """Before and after; what is idempotent stays so, for handlers that end later."""
    manager = ConnectionManager()
    assert manager.get_room_connections("tea") == set()
    await manager.remove_connection("ada")
    with pytest.raises(RuntimeError, match="within its block"):
        await manager.add_connection("ada", Peer())
    with pytest.raises(RuntimeError, match="within its block"):
        await manager.broadcast_to_all("hello")
    async with manager:
        await put(manager, "tea", ada=Peer())
        with pytest.raises(RuntimeError, match="entered once"):
            await manager.__aenter__()
    with pytest.raises(RuntimeError, match="has been left"):
        await manager.add_connection("bob", Peer())
    await manager.leave_room("ada", "tea")
    await manager.remove_connection("ada")
    assert manager.get_room_connections("tea") == set()
    assert manager.get_connection_rooms("ada") == set()
    with pytest.raises(UnknownConnectionError):
        await manager.join_room("ada", "tea")
    with pytest.raises(ClosedHubError):
        await manager.broadcast_to_all("hello")
    with pytest.raises(ClosedHubError):
        await manager.broadcast_to_room("tea", "hello")
    with pytest.raises(RuntimeError, match="entered once"):
        await manager.__aenter__()


async def test_a_hub_that_is_given_is_given_before_the_block() -> None:
    """It can be asked for, and goes on when the manager's block has ended."""
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        assert manager.hub is hub
        async with manager:
            await put(manager, "tea", ada=Peer())
        await wait_all_tasks_blocked()
        assert hub.members() == []
        with pytest.raises(RuntimeError, match="has been left"):
            await manager.add_connection("ada", Peer())
        async with hub.room("tea").join("ada"):
            pass


async def test_a_hub_that_stops_first_lets_connections_go(autojump_clock: MockClock) -> None:
    """They are sent what was broadcast, and can be removed while it drains."""
    ada, bob = Peer(seconds=1), Peer(seconds=1)
    opened = trio.Event()

    async def use(hub: roomactors.Hub) -> None:
        async with ConnectionManager(hub) as manager:
            await put(manager, "tea", ada=ada, bob=bob)
            await manager.broadcast_to_room("tea", "hello")
            hub.keeper.draining = True
            with pytest.raises(DrainingError):
                await manager.add_connection("cleo", Peer())
            with pytest.raises(DrainingError):
                await manager.broadcast_to_room("tea", "late")
            await manager.remove_connection("ada")
            assert trio.current_time() - began == 1
            opened.set()
            await trio.sleep(5)

    began = trio.current_time()
    async with trio.open_nursery() as nursery, roomactors.open_hub() as hub:
        nursery.start_soon(use, hub)
        await opened.wait()
    assert (ada.got, bob.got) == (["hello"], ["hello"])


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_send_takes_time(seconds: float) -> None:
    """A deadline that no send could meet is refused."""
    with pytest.raises(ValueError, match="send_seconds is a number of seconds above 0"):
        ConnectionManager(send_seconds=seconds)


# A hub without a block


async def test_over_a_hub_a_manager_needs_no_block(autojump_clock: MockClock) -> None:
    """All of its operations are there; a connection's task ends with its removal."""
    ada, bob = Peer(seconds=1), Peer()
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        await manager.broadcast_to_all("to nobody")
        assert manager.get_room_connections("tea") == set()
        assert manager.get_connection_rooms("ada") == set()
        await put(manager, "tea", ada=ada, bob=bob)
        tasks = trio.lowlevel.current_statistics().tasks_living
        await manager.join_room("ada", "coffee")
        assert manager.get_room_connections("tea") == {"ada", "bob"}
        assert manager.get_connection_rooms("ada") == {"tea", "coffee"}
        await manager.broadcast_to_room("tea", "one", except_=["bob"])
        await manager.broadcast_to_all(b"two")
        await manager.leave_room("ada", "coffee")
        assert hub.rooms_of("ada") == ["tea"]
        with pytest.raises(ConnectionIdTakenError):
            await manager.add_connection("ada", Peer())
        await manager.remove_connection("ada")
        assert ada.got == ["one", b"two"]
        await trio.sleep(10)
        assert trio.lowlevel.current_statistics().tasks_living == tasks - 1
        await manager.add_connection("ada", ada)
        await manager.broadcast_to_all("three")
    assert ada.got == ["one", b"two", "three"]
    assert bob.got == [b"two", "three"]


@pytest.mark.parametrize(("send_seconds", "seconds", "got"), [(10, 5, ["0", "1"]), (3, 3, ["0"])])
async def test_a_hub_s_end_sends_what_was_broadcast(
    send_seconds: float, seconds: float, got: list[str], autojump_clock: MockClock
) -> None:
    """For as long as a drain may take, or one send if that is less; nobody is reported."""
    removed, on_removed = recorder()
    slow = {f"slow {n}": Peer(seconds=2) for n in range(10)}
    fast, stuck = Peer(), Peer(seconds=3600)
    began = trio.current_time()
    async with roomactors.open_hub(settings=HubSettings(drain_seconds=5)) as hub:
        manager = ConnectionManager(hub, send_seconds=send_seconds, on_removed=on_removed)
        await put(manager, "tea", **slow, fast=fast, stuck=stuck)
        for number in range(4):
            await manager.broadcast_to_room("tea", str(number))
    assert trio.current_time() - began == seconds
    assert [peer.got for peer in slow.values()] == [got] * 10
    assert (fast.got, stuck.got) == (["0", "1", "2", "3"], [])
    assert removed == []
    assert hub.members() == []


async def test_a_hub_with_nothing_to_send_ends_at_once(autojump_clock: MockClock) -> None:
    """Connections that are there do not hold it up."""
    began = trio.current_time()
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        await put(manager, "tea", ada=Peer(), bob=Peer())
        await manager.broadcast_to_all("hello")
    assert trio.current_time() == began


async def test_a_hub_that_drains_twice_gives_a_connection_its_time_once(
    autojump_clock: MockClock,
) -> None:
    """As the hub of a server does: when the server stops, and when its block is left."""
    began = trio.current_time()
    async with roomactors.open_hub(settings=HubSettings(drain_seconds=100)) as hub:
        manager = ConnectionManager(hub, send_seconds=3)
        await put(manager, "tea", ada=Peer(seconds=2))
        for number in range(3):
            await manager.broadcast_to_all(str(number))
        await hub.keeper.drain(1)
        assert trio.current_time() - began == 1
    assert trio.current_time() - began == 3


async def test_a_hub_that_is_cancelled_takes_its_connections_with_it(
    autojump_clock: MockClock,
) -> None:
    """At once; the manager then says that the hub is closed, and what is idempotent stays so."""
    stuck = Peer(seconds=5)
    tasks = trio.lowlevel.current_statistics().tasks_living
    began = trio.current_time()
    manager = None
    with trio.CancelScope() as scope:
        async with roomactors.open_hub() as hub:
            manager = ConnectionManager(hub)
            await put(manager, "tea", ada=stuck)
            await manager.broadcast_to_room("tea", "hello")
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()
    assert manager is not None
    assert trio.current_time() == began
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    assert (stuck.asked, stuck.got) == (["hello"], [])
    assert hub.members() == []
    assert manager.get_room_connections("tea") == set()
    assert manager.get_connection_rooms("ada") == set()
    await manager.leave_room("ada", "tea")
    await manager.remove_connection("ada")
    with pytest.raises(UnknownConnectionError):
        await manager.join_room("ada", "tea")
    for call in (manager.add_connection("ada", Peer()), manager.broadcast_to_all("hello")):
        with pytest.raises(ClosedHubError):
            await call


async def test_a_block_comes_before_the_first_connection() -> None:
    """There is one place for a manager's tasks, not two."""
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        await manager.add_connection("ada", Peer())
        with pytest.raises(RuntimeError, match="before connections are added"):
            await manager.__aenter__()
        await manager.broadcast_to_all("hello")


async def test_managers_of_both_kinds_share_a_hub(autojump_clock: MockClock) -> None:
    """Each lists its own connections, and a block's end ends its own alone."""
    ada, bob = Peer(), Peer()
    async with roomactors.open_hub() as hub:
        without = ConnectionManager(hub)
        await put(without, "tea", ada=ada)
        async with ConnectionManager(hub) as within:
            await put(within, "tea", bob=bob)
            assert without.get_room_connections("tea") == {"ada"}
            assert within.get_room_connections("tea") == {"bob"}
            await without.broadcast_to_room("tea", "one")
            await within.broadcast_to_all("two")
        assert hub.members() == ["ada"]
        await without.broadcast_to_room("tea", "three")
    assert (ada.got, bob.got) == (["one", "two", "three"], ["one", "two"])


# What goes wrong in a task


class Careless:
    """A send with tasks of its own, one of which fails when it is cancelled."""

    async def send(self, message: str | bytes) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_and_fail)
            nursery.start_soon(trio.sleep_forever)

    async def _wait_and_fail(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("closed meanwhile")


@pytest.mark.parametrize("block", [True, False])
async def test_a_send_that_fails_when_it_is_cut_off_harms_nobody(
    block: bool, autojump_clock: MockClock
) -> None:
    """Its error comes in one group with the cancellation, and goes no further."""
    bob = Peer()
    async with roomactors.open_hub() as hub, AsyncExitStack() as stack:
        manager = ConnectionManager(hub)
        if block:
            await stack.enter_async_context(manager)
        await manager.add_connection("ada", Careless())
        await manager.add_connection("bob", bob)
        await manager.broadcast_to_all("one")
        await wait_all_tasks_blocked()
        with trio.CancelScope() as scope:
            scope.cancel()
            await manager.remove_connection("ada")
        await wait_all_tasks_blocked()
        await manager.broadcast_to_all("two")
    assert bob.got == ["one", "two"]


@pytest.mark.parametrize("block", [True, False])
async def test_a_send_that_fails_when_all_is_cancelled_is_not_heard_of(block: bool) -> None:
    """What the program raises comes out alone."""

    async def use() -> None:
        async with roomactors.open_hub() as hub, AsyncExitStack() as stack:
            manager = ConnectionManager(hub)
            if block:
                await stack.enter_async_context(manager)
            await manager.add_connection("ada", Careless())
            await manager.broadcast_to_all("hello")
            await wait_all_tasks_blocked()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        await use()


async def test_a_hook_that_fails_when_the_hub_ends_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The hub waits for it no longer than a drain may take, and does not hear of its error."""

    async def on_removed(connection_id: str, reason: RemovedReason) -> None:
        await Careless().send(reason)

    began = trio.current_time()
    async with roomactors.open_hub(settings=HubSettings(drain_seconds=5)) as hub:
        manager = ConnectionManager(hub, on_removed=on_removed)
        await put(manager, "tea", ada=Peer(error=OSError()))
        await manager.broadcast_to_room("tea", "hello")
        await wait_all_tasks_blocked()
    assert trio.current_time() - began == 5
    assert "on_removed failed for 'ada'" in caplog.text
    assert "closed meanwhile" in caplog.text


async def test_a_bug_in_a_task_ends_one_connection_and_no_hub(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged; that connection is out of its rooms and its id is free, the others go on."""

    def take(member: Member) -> str | bytes:
        if member.id == "ada":
            raise AssertionError("a bug")
        return real_take(member)

    real_take = connection._take
    monkeypatch.setattr(connection, "_take", take)
    ada, bob = Peer(), Peer()
    async with roomactors.open_hub() as hub:
        manager = ConnectionManager(hub)
        await put(manager, "tea", ada=ada, bob=bob)
        await manager.broadcast_to_room("tea", "one")
        await wait_all_tasks_blocked()
        assert "a bug" in caplog.text
        assert manager.get_room_connections("tea") == {"bob"}
        assert hub.members() == ["bob"]
        await manager.broadcast_to_room("tea", "two")
        await manager.add_connection("ada", ada)
    assert (ada.got, bob.got) == ([], ["one", "two"])
