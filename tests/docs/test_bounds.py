"""Each bound, driven to its limit and one over: what happens is what the table says.

A drive is one function per bound. It makes the bound small, goes to it, then
one over, and returns what it found there in the words of the table.
"""

from __future__ import annotations

import fcntl
import json
import logging
import re
import socket
import struct
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, Final

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

import roomactors
from roomactors import HubSettings, RoomSettings, ServerSettings
from roomactors.core.commands import COMMAND_BYTES, Broadcast
from roomactors.core.log import ENTRY_BYTES
from roomactors.core.room import FRAME_BYTES, Room
from roomactors.errors import RoomActorsError
from roomactors.server.links import tune
from roomactors.testing import Client, MemoryServer, memory_link_pair, open_test_hub
from roomactors.testing import open_test_server as open_server
from tests.docs.catalogue import OVER, all_bounds
from tests.server.heads import head_of
from tests.server.moments import at, just_before
from tests.server.test_frames import CONTINUATION, TEXT, client_frame

Drive = Callable[[], Awaitable[str]]
DRIVES: Final[dict[str, Drive]] = {}
"""Each bound, and what drives it."""


def drives(bound: str) -> Callable[[Drive], Drive]:
    """Say which bound a function drives."""

    def note(drive: Drive) -> Drive:
        assert bound not in DRIVES
        DRIVES[bound] = drive
        return drive

    return note


@pytest.mark.parametrize("name", sorted(OVER))
async def test_one_over_a_bound_is_what_the_table_says(
    name: str, autojump_clock: MockClock
) -> None:
    """At the limit nothing happens; one over it, what is documented and nothing else."""
    assert await DRIVES[name]() == OVER[name]


def test_every_bound_is_in_the_table_and_has_a_drive() -> None:
    """None can be added to the settings without a word on what is one over it, and a test."""
    names = {bound.name for bound in all_bounds()}
    assert names == set(OVER) == set(DRIVES)


# The words of the table


def error(frame: dict[str, Any]) -> str:
    """An `error` frame."""
    assert frame["type"] == "error"
    return f"`error` `{frame['code']}`"


async def refused(client: Client, **message: object) -> str:
    """What a client is told of a message."""
    await client.send(**message)
    return error(await client.expect(type="error"))


async def raised(call: Awaitable[object]) -> str:
    """What a call raises."""
    with pytest.raises(RoomActorsError) as caught:
        await call
    return f"`{type(caught.value).__name__}`"


async def entered(block: Any) -> str:  # noqa: ANN401 - any `async with` block
    """What entering a block raises."""
    return await raised(block.__aenter__())


async def closed(client: Client) -> str:
    """How a connection ended, which must be now."""
    await wait_all_tasks_blocked()
    assert client.closed is not None
    if client.closed.code == 1006:
        return "the connection is reset"
    return f"closed with {client.closed.code}"


async def status(server: MemoryServer, path: str = "/ws", **options: Any) -> str:  # noqa: ANN401
    """How an upgrade is refused."""
    with pytest.raises(roomactors.CannotConnectError) as caught:
        await server.connect(path, **options)
    return f"HTTP {caught.value.status}"


@asynccontextmanager
async def server_with(
    *,
    room: dict[str, Any] | None = None,
    hub: dict[str, Any] | None = None,
    **server: Any,  # noqa: ANN401 - fields of ServerSettings
) -> AsyncGenerator[MemoryServer]:
    """A server in memory whose bounds are as usual but for these."""
    hub_settings = HubSettings(room=RoomSettings(**(room or {})), **(hub or {}))
    async with open_server(
        settings=ServerSettings(**server), hub_settings=hub_settings
    ) as memory_server:
        yield memory_server


@asynccontextmanager
async def hub_with(
    *,
    hooks: roomactors.Hooks | None = None,
    room: dict[str, Any] | None = None,
    **hub: Any,  # noqa: ANN401 - fields of HubSettings
) -> AsyncGenerator[roomactors.Hub]:
    """A hub whose bounds are as usual but for these."""
    settings = HubSettings(room=RoomSettings(**(room or {})), **hub)
    async with open_test_hub(settings=settings, hooks=hooks) as test_hub:
        yield test_hub


def message(**fields: object) -> bytes:
    """A text frame of the plain protocol."""
    return client_frame(TEXT, json.dumps(fields).encode())


# A room


@drives("RoomSettings.max_members")
async def _max_members() -> str:
    async with server_with(room={"max_members": 2}) as server:
        tea = server.hub.room("tea")
        ada, bob = await server.connect(), await server.connect()
        await ada.join("tea")
        await bob.join("tea")
        eve = await server.connect()
        said = await refused(eve, type="join", room="tea")
        raw = await server.connect("/raw/tea")
        found = f"{said}, {await entered(tea.join('eve'))}; `/raw` {_closes(await closed(raw))}"
        assert len(await tea.members()) == 2
        return found


def _closes(ended: str) -> str:
    return ended.replace("closed with", "closes with")


def post(hub: roomactors.Hub, origin: object, size: int = 10) -> bool:
    """Put a broadcast into the mailbox of tea, without a turn between; whether it has a place."""
    data = hub.freeze_data("x" * (size - 2))
    command = Broadcast(data=data, sender=None)
    return hub.keeper.post("tea", command, origin=origin, accepted=lambda: None) is None


WAITS: Final = "the command waits in line, and its sender is not read"


async def waits(room: dict[str, Any], *sizes: int) -> str:
    """The last of these broadcasts, each from somebody else, waits and is done in the end."""
    async with hub_with(room=room) as hub:
        *fitting, over = sizes
        for number, size in enumerate(fitting):
            assert post(hub, number, size)
        assert hub.room("tea").statistics().mailbox_waiting == 0
        assert not post(hub, "over", over)
        assert hub.room("tea").statistics().mailbox_waiting == 1
        await wait_all_tasks_blocked()
        assert hub.room("tea").statistics().seq == len(sizes)
    return await not_read(room, over)


async def not_read(room: dict[str, Any], size: int) -> str:
    """A connection whose command waits is not read; the others are."""
    async with server_with(room=room) as server:
        ada = await server.connect()
        await ada.join("tea")
        outlet = server.hub.keeper.outlets[ada.member]
        connection = next(found for found in server.server._driver.open if found.outlet is outlet)
        number = 0
        while post(server.hub, number, size):
            number += 1
        text = message(type="broadcast", room="tea", data="mine", ref=1)
        connection.feed(text)
        assert connection.paused
        await wait_all_tasks_blocked()
        assert not connection.paused
        frames = [await ada.receive() for _ in range(len(ada.frames))]
        assert [frame["data"] for frame in frames if frame["type"] == "message"][-1] == "mine"
    return WAITS


@drives("RoomSettings.mailbox_commands")
async def _mailbox_commands() -> str:
    return await waits({"mailbox_commands": 3}, 10, 10, 10, 10)


@drives("RoomSettings.mailbox_bytes")
async def _mailbox_bytes() -> str:
    return await waits({"mailbox_bytes": 2 * (COMMAND_BYTES + 200)}, 200, 200, 10)


@drives("RoomSettings.mailbox_share")
async def _mailbox_share() -> str:
    async with hub_with(room={"mailbox_share": 2}) as hub:
        assert post(hub, "ada")
        assert post(hub, "ada")
        assert not post(hub, "ada")
        assert post(hub, "bob")
        await wait_all_tasks_blocked()
        assert hub.room("tea").statistics().seq == 4
    async with server_with(room={"mailbox_share": 2}) as server:
        ada = await server.connect()
        await ada.join("tea")
        connection = next(iter(server.server._driver.open))
        text = message(type="broadcast", room="tea", data=1)
        connection.feed(text + text)
        assert not connection.paused
        connection.feed(text)
        assert connection.paused
        await wait_all_tasks_blocked()
        assert server.hub.room("tea").statistics().seq == 4
    return f"{WAITS}; the commands of others go past it"


@drives("RoomSettings.turn_bytes")
async def _turn_bytes() -> str:
    async with hub_with(room={"turn_bytes": 2 * (FRAME_BYTES + 350)}) as hub:
        room = hub.room("tea")
        for count, turns in ((2, 1), (3, 3)):
            for number in range(count):
                assert post(hub, number, 350)
            await wait_all_tasks_blocked()
            assert room.statistics().turns == turns
        assert room.statistics().seq == 5
    return "the rest is handled in the next turn"


GAP: Final = "the oldest goes; who had not got it hears `gap`"


async def gap_after(*within: object, over: object, wait: float = 0.0, **room: Any) -> str:  # noqa: ANN401
    """Whether a member that did not read gets a gap only once `over` has been said too."""
    for values, lost in ((within, False), ((*within, over), True)):
        async with hub_with(room=room) as hub:
            tea = hub.room("tea")
            async with tea.join("slow") as slow:
                for value in values:
                    await tea.broadcast(value)
                    await trio.sleep(wait)
                await wait_all_tasks_blocked()
                event = await slow.receive()
                assert isinstance(event, roomactors.Gap) is lost, event
                if lost:
                    assert isinstance(event, roomactors.Gap)
                    assert (event.first, event.last) == (2, 2)
                    rest = await slow.receive()
                    assert isinstance(rest, roomactors.Message)
                    assert rest.data == values[1]
    return GAP


@drives("RoomSettings.log_messages")
async def _log_messages() -> str:
    return await gap_after(1, 2, 3, over=4, log_messages=3, log_floor=1)


@drives("RoomSettings.log_bytes")
async def _log_bytes() -> str:
    # The slow member's own coming, and two messages.
    limit = ENTRY_BYTES + 2 * (ENTRY_BYTES + 100)
    room = {"log_bytes": limit, "log_floor": 1}
    async with hub_with(room=room) as hub, hub.room("tea").join("ada"):
        for said in ("x" * 98, "y" * 98):
            await hub.room("tea").broadcast(said)
        await wait_all_tasks_blocked()
        statistics = hub.room("tea").statistics()
        assert (statistics.log_events, statistics.log_bytes) == (3, limit)
    return await gap_after("x" * 98, "y" * 98, over="z" * 98, log_bytes=limit, log_floor=1)


@drives("RoomSettings.log_seconds")
async def _log_seconds() -> str:
    # Said at 0, 5 and 10 seconds, and at 15.
    return await gap_after(1, 2, 3, over=4, wait=5, log_seconds=10, log_floor=1)


@drives("RoomSettings.log_floor")
async def _log_floor() -> str:
    said = await gap_after(1, 2, 3, over=4, log_messages=1, log_floor=3)
    assert said == GAP
    return "the oldest goes, if another limit says so"


@drives("RoomSettings.linger_seconds")
async def _linger_seconds() -> str:
    async with hub_with(room={"linger_seconds": 3}) as hub:
        tea = hub.room("tea")
        async with tea.join("ada") as seat:
            epoch = seat.arrival.epoch
        left = trio.current_time()
        await just_before(left + 3)
        assert tea.statistics().epoch == epoch
        await at(left + 3)
        assert tea.statistics().epoch is None
        async with tea.join("ada") as seat:
            assert seat.arrival.epoch != epoch
    return "the room ends; made again, it has a new epoch"


# A hub


@drives("HubSettings.max_rooms")
async def _max_rooms() -> str:
    async with server_with(hub={"max_rooms": 2}) as server:
        ada = await server.connect()
        await ada.join("one")
        await ada.join("two")
        said = await refused(ada, type="join", room="three")
        return f"{said}, {await raised(server.hub.room('three').broadcast(1))}"


@drives("HubSettings.max_rooms_per_member")
async def _max_rooms_per_member() -> str:
    async with server_with(hub={"max_rooms_per_member": 2}) as server:
        ada, hub = await server.connect(), server.hub
        await ada.join("one")
        await ada.join("two")
        said = await refused(ada, type="join", room="three")
        async with hub.room("one").join("bob"), hub.room("two").join("bob"):
            return f"{said}, {await entered(hub.room('three').join('bob'))}"


@drives("HubSettings.data_bytes")
async def _data_bytes() -> str:
    found = set()
    for limit in (10, 100_000):
        async with hub_with(data_bytes=limit) as hub, hub.room("tea").join("ada") as seat:
            fits = "x" * (limit - 2)
            await hub.broadcast(fits)
            await hub.room("tea").broadcast(fits)
            await seat.broadcast(fits)
            for broadcast in (hub.broadcast, hub.room("tea").broadcast, seat.broadcast):
                found.add(await raised(broadcast(f"{fits}x")))
    return ", ".join(found)


@drives("HubSettings.info_bytes")
async def _info_bytes() -> str:
    found = set()
    for limit in (10, 50_000):
        async with server_with(hub={"info_bytes": limit}) as server:
            tea = server.hub.room("tea")
            fits = "x" * (limit - 2)
            ada = await server.connect()
            assert ada.welcome["limits"]["info_bytes"] == limit
            await ada.join("tea", info=fits)
            async with tea.join("bob", info=fits):
                raises = await entered(tea.join("eve", info=f"{fits}x"))
                await ada.expect(type="member_joined")
                said = await refused(ada, type="join", room="hall", info=f"{fits}x")
                found.add(f"{said}, {raises}")
    return " or ".join(found)


@drives("HubSettings.drain_seconds")
async def _hub_drain_seconds() -> str:
    for stuck, taken in ((False, 0.0), (True, 3.0)):
        async with hub_with(drain_seconds=3) as hub:
            if stuck:
                # A room that never takes its turn.
                hub.keeper.rooms["stuck"] = Room("stuck", "epoch", hub.keeper)
            began = trio.current_time()
        assert trio.current_time() - began == taken
    return "the hub closes all the same"


@drives("HubSettings.hook_queue")
async def _hook_queue() -> str:
    called: list[str] = []
    go_on = trio.Event()

    async def connected(member: str) -> None:
        called.append(member)
        await go_on.wait()

    hooks = roomactors.Hooks(connected=connected)
    async with hub_with(hook_queue=2, hooks=hooks) as hub, AsyncExitStack() as seats:
        for missed, member in ((0, "under way"), (0, "first"), (0, "second"), (1, "over")):
            await seats.enter_async_context(hub.room("tea").join(member))
            await wait_all_tasks_blocked()
            assert hub.statistics().hooks_missed == missed
        go_on.set()
        await wait_all_tasks_blocked()
        assert called == ["under way", "first", "second"]
    return "the hook is not called for it, and `HubStatistics.hooks_missed` counts it"


@drives("HubSettings.volatile_queue")
async def _volatile_queue() -> str:
    async with hub_with(volatile_queue=2) as hub, hub.room("tea").join("ada") as seat:
        for said, kept in (([1, 2], [1, 2]), ([1, 2, 3], [2, 3])):
            for value in said:
                await hub.room("tea").broadcast(value, volatile=True)
            await wait_all_tasks_blocked()
            heard: list[object] = []
            while len(heard) < len(kept):
                event = seat.receive_nowait()
                assert isinstance(event, roomactors.Message)
                heard.append(event.data)
            assert heard == kept
            with pytest.raises(trio.WouldBlock):
                seat.receive_nowait()
    return "the oldest of them is dropped"


# The server: sizes and counts


@drives("ServerSettings.max_message_bytes")
async def _max_message_bytes() -> str:
    async with server_with(max_message_bytes=100) as server:
        ada = await server.connect()
        await ada.send_text('{"type":"ping"}'.ljust(100))
        await ada.expect(type="pong")
        # From the head alone, before the payload has come.
        await ada.send_raw(client_frame(TEXT, b" " * 101)[:6])
        return await closed(ada)


@drives("ServerSettings.max_fragments")
async def _max_fragments() -> str:
    async with server_with(max_fragments=3) as server:
        ada = await server.connect()
        first = client_frame(TEXT, b'{"type":', fin=False)
        empty = client_frame(CONTINUATION, b"", fin=False)
        last = client_frame(CONTINUATION, b'"ping"}')
        await ada.send_raw(first + empty + last)
        await ada.expect(type="pong")
        await ada.send_raw(first + empty + empty + last)
        return await closed(ada)


@drives("ServerSettings.max_connections")
async def _max_connections() -> str:
    async with server_with(max_connections=2) as server:
        await server.connect()
        await server.connect()
        return await status(server, remote="192.0.2.2")


@drives("ServerSettings.max_connections_per_address")
async def _max_connections_per_address() -> str:
    async with server_with(max_connections_per_address=2) as server:
        await server.connect()
        await server.connect()
        await server.connect(remote="192.0.2.2")
        return await status(server)


@drives("REFUSALS_AT_ONCE")
async def _refusals_at_once() -> str:
    async with server_with(max_connections=1) as server:
        await server.connect()
        streams = [server.open_stream() for _ in range(256)]
        await wait_all_tasks_blocked()
        # They are told, once they ask.
        await streams[-1].send_all(head_of())
        assert (await streams[-1].receive_some()).startswith(b"HTTP/1.1 503 ")
        # That one lingers until its peer has closed, so there are still 256.
        over = server.open_stream()
        with pytest.raises(trio.BrokenResourceError):
            await over.receive_some()
    return "the socket is reset without a word"


async def burst(rate: float, count: int) -> list[str]:
    """What is said to so many broadcasts at once."""
    async with server_with(broadcasts_per_second=rate) as server:
        ada = await server.connect()
        await ada.join("tea")
        said = []
        for number in range(count):
            await ada.send(type="broadcast", room="tea", data=1, ref=number, echo=False)
            answer = await ada.receive()
            said.append("ack" if answer["type"] == "ack" else error(answer))
            if said[-1] != "ack":
                assert answer["retry_after"] == 1 / rate
                await trio.sleep(answer["retry_after"])
                await ada.send(type="broadcast", room="tea", data=1, ref="later", echo=False)
                await ada.expect(type="ack")
        return said


async def raw_burst(rate: float, count: int) -> float:
    """How long it takes until so many frames of a raw connection have been heard."""
    async with server_with(broadcasts_per_second=rate) as server:
        ada = await server.connect("/raw/tea")
        for number in range(count):
            await ada.send_text(str(number))
        for number in range(count):
            assert await ada.receive_frame() == str(number)
        return trio.current_time()


@drives("ServerSettings.broadcasts_per_second")
async def _broadcasts_per_second() -> str:
    # Twice as many at once; then one for each tenth of a second.
    *fine, over = await burst(10, 21)
    assert fine == ["ack"] * 20
    began = trio.current_time()
    # The one over is read, and what comes after it only when that has been paid for.
    assert await raw_burst(10, 21) == began
    assert await raw_burst(10, 23) == pytest.approx(began + 0.2)
    return f"{over}; `/raw` is read more slowly"


@drives("BURST_SECONDS")
async def _burst_seconds() -> str:
    *fine, over = await burst(4, 9)
    assert fine == ["ack"] * 8
    began = trio.current_time()
    assert await raw_burst(4, 11) == pytest.approx(began + 0.5)
    return f"{over}; `/raw` is read more slowly"


@drives("ServerSettings.excess_seconds")
async def _excess_seconds() -> str:
    async with server_with(broadcasts_per_second=1, excess_seconds=5) as server:
        ada = await server.connect()
        await ada.join("tea")

        async def too_many() -> None:
            await ada.send_raw(3 * message(type="broadcast", room="tea", data=1, echo=False))
            await wait_all_tasks_blocked()

        began = trio.current_time()
        for second in range(5):
            await at(began + second)
            await too_many()
        await just_before(began + 5)
        await too_many()
        assert ada.closed is None
        await at(began + 5)
        await too_many()
        return await closed(ada)


@drives("ServerSettings.bad_messages")
async def _bad_messages() -> str:
    async with server_with(bad_messages=3) as server:
        ada = await server.connect()
        for _ in range(2):
            await ada.send_text("?")
            assert error(await ada.receive()) == "`error` `bad_json`"
        await ada.send_text("?")
        assert error(await ada.receive()) == "`error` `bad_json`"
        return await closed(ada)


@drives("BAD_MESSAGES_SECONDS")
async def _bad_messages_seconds() -> str:
    for apart, ended in ((10.0, True), (10.001, False)):
        async with server_with(bad_messages=2) as server:
            ada = await server.connect()
            began = trio.current_time()
            await ada.send_text("?")
            await at(began + apart)
            await ada.send_text("?")
            await wait_all_tasks_blocked()
            assert (ada.closed is not None) is ended
    return "the earlier ones do not count any more"


# The server: times


@drives("ServerSettings.opening_seconds")
async def _opening_seconds() -> str:
    async with server_with(opening_seconds=3) as server:
        began = trio.current_time()
        stream = server.open_stream()
        await just_before(began + 3)
        assert server.server.statistics().sockets == 1
        await at(began + 3)
        assert server.server.statistics().sockets == 0
        assert await stream.receive_some() == b""
    return "the socket is closed"


@drives("ServerSettings.heartbeat_seconds")
async def _heartbeat_seconds() -> str:
    async with server_with(heartbeat_seconds=3) as server:
        began = trio.current_time()
        ada = await server.connect()
        await just_before(began + 3)
        assert not ada.pings
        await at(began + 3)
        assert len(ada.pings) == 1
    return "a ping"


@drives("ServerSettings.pong_seconds")
async def _pong_seconds() -> str:
    async with server_with(heartbeat_seconds=3, pong_seconds=2) as server:
        began = trio.current_time()
        ada = await server.connect()
        ada.answers_pings = False
        await just_before(began + 5)
        assert ada.closed is None
        await at(began + 5)
        return await closed(ada)


@drives("ServerSettings.idle_seconds")
async def _idle_seconds() -> str:
    async with server_with(idle_seconds=3) as server:
        began = trio.current_time()
        ada = await server.connect()
        await just_before(began + 3)
        assert ada.closed is None
        await at(began + 3)
        return await closed(ada)


@drives("ServerSettings.message_seconds")
async def _message_seconds() -> str:
    async with server_with(message_seconds=3) as server:
        began = trio.current_time()
        ada = await server.connect()
        await ada.send_raw(message(type="ping")[:-1])
        await just_before(began + 3)
        assert ada.closed is None
        await at(began + 3)
        return await closed(ada)


async def cut_off(*, takes_the_close: bool) -> str:
    """How a member ends that takes nothing of a message for 3 seconds."""
    async with server_with(progress_seconds=3) as server:
        ada = await server.connect()
        await ada.join("tea")
        ada.incoming.take(then=0)
        began = trio.current_time()
        await server.hub.room("tea").broadcast("x" * 100)
        await just_before(began + 3)
        assert server.hub.rooms_of(ada.member) == ["tea"]
        if takes_the_close:
            # All at once, and so late that the writer has not looked before its time is over.
            ada.incoming._takes.clear()
            ada.incoming._then = None
        await at(began + 3)
        assert server.hub.rooms_of(ada.member) == []
        return await closed(ada)


@drives("ServerSettings.progress_seconds")
async def _progress_seconds() -> str:
    taking = await cut_off(takes_the_close=True)
    return f"{await cut_off(takes_the_close=False)}, or {taking} if it takes that much"


@drives("ServerSettings.close_seconds")
async def _close_seconds() -> str:
    async with server_with(close_seconds=3) as server:
        ada = await server.connect()
        ada.answers_close = False
        began = trio.current_time()
        server.hub.disconnect(ada.member)
        await just_before(began + 3)
        assert server.server.statistics().sockets == 1
        await at(began + 3)
        assert server.server.statistics().sockets == 0
    return "the socket is closed"


@drives("ServerSettings.close_discard_bytes")
async def _close_discard_bytes() -> str:
    async with server_with(close_discard_bytes=100) as server:
        ada = await server.connect()
        ada.answers_close = False
        server.hub.disconnect(ada.member)
        await wait_all_tasks_blocked()
        await ada.send_raw(client_frame(TEXT, b"x" * 94))
        await wait_all_tasks_blocked()
        assert server.server.statistics().sockets == 1
        await ada.send_raw(b"x")
        await wait_all_tasks_blocked()
        assert server.server.statistics().sockets == 0
    return "the socket is closed"


@drives("ServerSettings.drain_seconds")
async def _server_drain_seconds() -> str:
    async with server_with(drain_seconds=3) as server:
        ada, bob = await server.connect(), await server.connect()
        # Bob takes nothing, not even the news.
        bob.incoming.take(then=0)
        began = trio.current_time()
        await server.server.drain()
        assert trio.current_time() - began == 3
        assert await closed(ada) == "closed with 1012"
        assert server.server.statistics().sockets == 1
    await wait_all_tasks_blocked()
    assert bob.closing is None
    return "what is still open is cut off"


# The server: bytes that wait


@drives("ServerSettings.own_bytes")
async def _own_bytes() -> str:
    pong = len('{"type":"pong","ref":1}') + 2  # a frame's head has 2 bytes
    async with server_with(own_bytes=2 * pong) as server:
        ada = await server.connect()
        ada.incoming.take(then=0)
        for number in (1, 2, 3):
            await ada.send(type="ping", ref=number)
            await wait_all_tasks_blocked()
            assert not ada.outgoing.held
        await ada.send(type="ping", ref=4)
        await wait_all_tasks_blocked()
        assert ada.outgoing.held
        ada.incoming.take()
        for number in (1, 2, 3, 4):
            await ada.expect(type="pong", ref=number)
        assert not ada.outgoing.held
    return "it is not read until it has taken some"


async def order_of_catching_up(catch_up_bytes: int) -> list[str]:
    """The rooms of six messages, three in each of two rooms, after a stall."""
    async with server_with(catch_up_bytes=catch_up_bytes) as server:
        ada = await server.connect()
        await ada.join("a")
        await ada.join("b")
        ada.incoming.take(then=0)
        for name in ("a", "b", "a", "b", "a", "b"):
            await server.hub.room(name).broadcast("x")
        await wait_all_tasks_blocked()
        ada.incoming.take()
        return [(await ada.expect(type="message"))["room"] for _ in range(6)]


@drives("ServerSettings.catch_up_bytes")
async def _catch_up_bytes() -> str:
    frame = len('{"type":"message","room":"a","seq":2,"from":null,"at":1000000000000,"data":"x"}')
    frame += 2  # its head
    for size, in_a_row in ((frame, 1), (2 * frame, 2), (3 * frame, 3)):
        rooms = order_of_catching_up(size)
        lengths = [len(run) for run in re.findall("a+|b+", "".join(await rooms))]
        assert max(lengths) == in_a_row, (size, lengths)
    return "the next room's turn comes first"


@drives("ServerSettings.read_bytes")
async def _read_bytes() -> str:
    one = message(type="broadcast", room="tea", data="ada")
    for count, together in ((3, True), (4, False)):
        async with server_with(read_bytes=3 * len(one)) as server:
            reads: list[int] = []
            link, stream = memory_link_pair()
            receive = link.to_server.receive

            async def spy(
                most: int,
                reads: list[int] = reads,
                receive: Callable[[int], Awaitable[bytes]] = receive,
            ) -> bytes:
                data = await receive(most)
                reads.append(len(data))
                return data

            link.to_server.receive = spy  # type: ignore[method-assign,assignment]
            server.server.take(link)
            ada = await server.connect(stream=stream)
            await ada.join("tea")
            reads.clear()
            await ada.send_raw(one * count)
            await wait_all_tasks_blocked()
            assert reads == ([3 * len(one)] if together else [3 * len(one), len(one)])
    return "the rest is read after the others' turn"


@drives("ServerSettings.unsent_bytes")
async def _unsent_bytes() -> str:
    """A real socket: only the kernel has this bound."""
    chunk = b"x" * 1024
    limit = 64 * 1024
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as peer:
            sock, _ = listener.accept()
            with sock:
                sock.setblocking(False)
                tune(sock, limit)
                with suppress(BlockingIOError):
                    while sock.send(chunk):
                        pass
                # SIOCOUTQNSD of Linux: bytes in the queue that have not been sent yet.
                raw = fcntl.ioctl(sock, 0x894B, struct.pack("i", 0))
                unsent = struct.unpack("i", raw)[0]
                # It looks at the bound before it takes what may fill a page more.
                assert limit <= unsent <= limit + 64 * 1024
                assert peer.recv(10)
    return "the kernel takes nothing more; the log keeps the rest"


# The connection manager


@attrs.define
class Sleeper:
    """A connection whose sends take a while."""

    seconds: float
    heard: list[str | bytes] = attrs.Factory(list)

    async def send(self, sent: str | bytes) -> None:
        await trio.sleep(self.seconds)
        self.heard.append(sent)


@drives("ConnectionManager.send_seconds")
async def _send_seconds() -> str:
    removed: list[str] = []

    async def on_removed(connection: str, reason: str) -> None:
        removed.append(f"{connection} removed, with the reason `{reason}`")

    in_time, late = Sleeper(2.999), Sleeper(3.001)
    async with roomactors.ConnectionManager(send_seconds=3, on_removed=on_removed) as manager:
        await manager.add_connection("in time", in_time)
        await manager.add_connection("late", late)
        await manager.broadcast_to_all("hello")
        await trio.sleep(10)
        assert (in_time.heard, late.heard) == (["hello"], [])
    assert len(removed) == 1
    return removed[0].removeprefix("late ")


# What is fixed


@drives("MAX_ROOM_NAME_BYTES")
async def _max_room_name_bytes() -> str:
    async with server_with() as server:
        ada = await server.connect()
        fits, over = "é" * 127 + "x", "é" * 128
        await ada.join(fits)
        server.hub.room(fits)
        await server.connect(f"/raw/{'x' * 255}")
        said = await refused(ada, type="join", room=over)
        with pytest.raises(RoomActorsError) as caught:
            server.hub.room(over)
        at_raw = await status(server, f"/raw/{'x' * 256}")
        return f"{said}, `{type(caught.value).__name__}`; {at_raw} at `/raw`"


@drives("MAX_MEMBER_ID_BYTES")
async def _max_member_id_bytes() -> str:
    async with server_with() as server:
        ada = await server.connect()
        tea = server.hub.room("tea")
        async with tea.join("é" * 32):
            raises = await entered(tea.join("é" * 32 + "x"))
        await ada.join("tea")
        told = {"type": "broadcast", "room": "tea", "data": 1, "echo": False}
        await ada.send(**told, ref=1, **{"except": ["x" * 64]})
        await ada.expect(type="ack")
        return f"{raises}; {await refused(ada, **told, **{'except': ['x' * 65]})} in `except`"


@drives("MAX_REF_BYTES")
async def _max_ref_bytes() -> str:
    async with server_with() as server:
        ada = await server.connect()
        await ada.send(type="ping", ref="é" * 64)
        await ada.expect(type="pong", ref="é" * 64)
        return await refused(ada, type="ping", ref="é" * 64 + "x")


@drives("MAX_EXCEPT")
async def _max_except() -> str:
    async with server_with() as server:
        ada = await server.connect()
        await ada.join("tea")
        told = {"type": "broadcast", "room": "tea", "data": 1, "echo": False}
        await ada.send(**told, ref=1, **{"except": ["x"] * 1000})
        await ada.expect(type="ack")
        return await refused(ada, **told, **{"except": ["x"] * 1001})


@drives("MAX_MEMBERS_PAGE")
async def _max_members_page() -> str:
    async with server_with() as server:
        ada = await server.connect()
        await ada.join("tea")
        tea = server.hub.room("tea")
        async with trio.open_nursery() as nursery:
            for count, following in ((199, None), (1, "200")):
                for _ in range(count):
                    nursery.start_soon(_sit, tea, f"member {len(nursery.child_tasks)}")
                await wait_all_tasks_blocked()
                ada.frames.clear()
                await ada.send(type="members", room="tea", ref=1, limit=200)
                page = await ada.expect(type="members")
                assert (len(page["members"]), page.get("members_next")) == (200, following)
            await ada.send(type="members", room="tea", ref=2, after=following)
            assert len((await ada.expect(type="members"))["members"]) == 1
            said = await refused(ada, type="members", room="tea", ref=3, limit=201)
            nursery.cancel_scope.cancel()
        return f"{said} for a `limit` above it; a roster goes on at `members_next`"


async def _sit(room: roomactors.RoomHandle, member: str) -> None:
    async with room.join(member):
        await trio.sleep_forever()


@drives("LONGEST_RUN_OF_SINGLES")
async def _longest_run_of_singles() -> str:
    for count, kinds in ((16, ["member_joined"] * 16), (17, ["presence"])):
        async with server_with() as server, trio.open_nursery() as nursery:
            ada = await server.connect()
            await ada.join("tea")
            for number in range(count):
                nursery.start_soon(_sit, server.hub.room("tea"), f"member {number}")
            await wait_all_tasks_blocked()
            assert [(await ada.receive())["type"] for _ in range(len(ada.frames))] == kinds
            nursery.cancel_scope.cancel()
    return "one `presence` in place of them all"


def nested(levels: int) -> Any:  # noqa: ANN401 - JSON
    """A list in a list in a list."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@drives("MAX_DEPTH")
async def _max_depth() -> str:
    async with server_with() as server:
        ada = await server.connect()
        await ada.join("tea")
        told = {"type": "broadcast", "room": "tea", "echo": False}
        # The message itself is one level. What is wide is not deep.
        for data in (nested(63), [nested(62), [[]], {}]):
            await ada.send(**told, data=data, ref=1)
            await ada.expect(type="ack")
        said = await refused(ada, **told, data=nested(64))
        for data in (nested(64), [nested(63), [[]], {}]):
            await server.hub.broadcast(data)
        return f"{said}, {await raised(server.hub.broadcast(nested(65)))}"


@drives("MAX_HEAD_BYTES")
async def _max_head_bytes() -> str:
    async with server_with() as server:
        bare = len(head_of("GET /ws HTTP/1.1", ("X-Filling", "")))
        for size, line in ((8192, b"HTTP/1.1 101 "), (8193, b"HTTP/1.1 431 ")):
            head = head_of("GET /ws HTTP/1.1", ("X-Filling", "x" * (size - bare)))
            assert len(head) == size
            stream = server.open_stream()
            await stream.send_all(head)
            assert (await stream.receive_some()).startswith(line)
    return "HTTP 431"


class _Keep(logging.Handler):
    """Keeps the levels of what is worth a look."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.levels: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.levels.append(record.levelname)


@drives("MAX_USER_BYTES")
async def _max_user_bytes() -> str:
    async def admit(request: roomactors.AdmissionRequest) -> str:
        return "é" * 128 + "x" * int(request.query["over"])

    logger = logging.getLogger("roomactors")
    handler = _Keep()
    logger.addHandler(handler)
    try:
        async with open_server(admit=admit) as server:
            ada = await server.connect("/ws?over=0")
            assert ada.welcome["user"] == "é" * 128
            assert not handler.levels
            found = await status(server, "/ws?over=1")
    finally:
        logger.removeHandler(handler)
    assert handler.levels == ["ERROR"]
    return f"{found}, and the reason is logged"


# What 0 turns off


OFF: Final = [bound.name for bound in all_bounds() if "0 is no limit" in bound.reason]


@pytest.mark.parametrize("name", OFF)
async def test_0_turns_a_limit_off_where_the_table_says_so(
    name: str, autojump_clock: MockClock
) -> None:
    """With 0 the first one is not one too many, and a second and a third are not either."""
    owner, _, field = name.partition(".")
    bounds: dict[str, dict[str, Any]] = {
        "RoomSettings": {},
        "HubSettings": {},
        "ServerSettings": {},
    }
    bounds[owner][field] = 0
    async with server_with(
        room=bounds["RoomSettings"], hub=bounds["HubSettings"], **bounds["ServerSettings"]
    ) as server:
        clients = [await server.connect() for _ in range(3)]
        for client in clients:
            for room in ("one", "two", "three"):
                await client.send(type="join", room=room, ref=room)
            await wait_all_tasks_blocked()
        ada = clients[0]
        assert server.hub.rooms_of(ada.member) == ["one", "two", "three"]
        ada.frames.clear()
        for number in range(201):
            await ada.send(type="broadcast", room="one", data="x" * 300, ref=number, echo=False)
            if field == "broadcasts_per_second" or number < 200:
                await ada.expect(type="ack")
        if field == "max_message_bytes":
            await trio.sleep(2)
            ada.frames.clear()
            await ada.send(type="broadcast", room="one", data="x" * 65_536, ref=1, echo=False)
            await ada.expect(type="ack", ref=1)


def test_the_limits_that_0_turns_off_are_those_of_the_command_line() -> None:
    """The group of its flags says so of each."""
    assert set(OFF) - {"HubSettings.max_rooms"} == {
        bound.name for bound in all_bounds() if bound.flag
    }
