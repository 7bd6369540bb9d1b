"""`ConnectionManager`: rooms for programs that have a WebSocket server of their own.

The familiar operations over a hub: each connection is an outlet with one task
that writes to it, and reads from its rooms' logs by the connection's cursors.
Nothing here knows a WebSocket library; it asks of a connection only a way to
send.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain, count
from types import TracebackType
from typing import Final, Literal, TypeAlias, cast, final

import trio

from roomactors.core.batch import Batch
from roomactors.core.commands import Broadcast, Join, Joined, Receipt
from roomactors.core.data import Data
from roomactors.core.events import EVERYONE, NOBODY, LeftReason, Message
from roomactors.core.hub import Hub, open_hub
from roomactors.core.keeper import Keeper
from roomactors.core.member import Member, MemberView
from roomactors.core.names import check_member_id, check_room_name
from roomactors.core.outlet import Outlet
from roomactors.core.reply import Reply, same
from roomactors.core.settings import KIB, MIB, HubSettings, RoomSettings
from roomactors.errors import (
    ConnectionIdTakenError,
    MemberIdTakenError,
    NoSuchMemberError,
    TooLargeError,
    UnknownConnectionError,
)
from roomactors.protocol.json_data import Json, freeze
from roomactors.protocol.raw import RawEncoder, binary_to_data

logger = logging.getLogger("roomactors")

Send: TypeAlias = Callable[[str | bytes], Awaitable[object]]
"""Sends one whole message: text for str, binary for bytes."""

RemovedReason = Literal["send_failed", "send_timed_out", "lagged", "kicked"]
"""Why a connection was removed although the program did not ask the manager to.

``send_failed``: its send raised; ``send_timed_out``: its send took longer than `send_seconds`;
``lagged``: messages that it was to get are in the room's log no more, or it left a room and did
not take the rest of it in `send_seconds`; ``kicked``: by `Hub.disconnect`.
"""

OnRemoved: TypeAlias = Callable[[str, RemovedReason], Awaitable[object]]

OWN_HUB: Final = HubSettings(
    room=RoomSettings(
        # Messages may be large here, and a full log of them may not be larger for that.
        log_floor=16,
        log_bytes=8 * MIB,
        log_messages=4096,
    ),
    # A binary message of 1 MiB, as much as trio-websocket takes by default, in base64.
    data_bytes=1536 * KIB,
    # The program puts connections into rooms here, not the peer.
    max_rooms_per_member=0,
)
"""The bounds of the hub that a manager opens for itself, where they are not the usual ones."""

_AHEAD: Final = 8
"""Messages: a publisher waits for nobody who is so near."""
_PASSES: Final = 32
"""Passes of trio's loop: a send over loopback takes 2, so who has sent nothing in so many waits
for its peer and not for its turn on the processor."""

# Cached beside the log's entry like any other protocol's frames, and counted there.
_MESSAGES: Final = RawEncoder(text=b"t".__add__, binary=b"b".__add__)

_numbers = count(1)


@final
class _Numbered(Data):
    """A message with its number in the order in which all rooms of the process took theirs."""

    number = 0

    def value(self) -> object:
        """A fresh Python value."""
        return Json(self).value()


def _find_send(connection: object) -> Send:
    """How to send to this object.

    The first of these that it has: ``send_message`` (trio-websocket), ``send_text``
    together with ``send_bytes`` (Starlette, whose ``send`` takes something else),
    ``send`` (Quart-Trio and others).

    Raises:
      TypeError: it has none of them.
    """
    whole = getattr(connection, "send_message", None)
    if callable(whole):
        return cast("Send", whole)
    text = getattr(connection, "send_text", None)
    binary = getattr(connection, "send_bytes", None)
    if callable(text) and callable(binary):

        async def send(message: str | bytes) -> None:
            await (text(message) if isinstance(message, str) else binary(message))

        return send
    whole = getattr(connection, "send", None)
    if callable(whole):
        return cast("Send", whole)
    raise TypeError(
        f"a {type(connection).__name__} has no send_message, no send_text with send_bytes, "
        "and no send; say how to send to it with send="
    )


@final
class _Connection(Outlet):
    """One connection: its seats, and the loop that sends what is due to them.

    Args:
      member_id: the connection's id, which is its member id in the hub.
      send: sends one message.
      send_seconds: how long one send may take.
      keeper: of the hub.
      source: the program's own object.
    """

    __slots__ = (
        "_cut",
        "_idle",
        "_keeper",
        "_leavers",
        "_leaving",
        "_scope",
        "_send",
        "_send_seconds",
        "_sending",
        "_writer",
        "over",
        "reason",
        "sent",
        "source",
        "stalled",
    )

    def __init__(
        self,
        member_id: str,
        send: Send,
        *,
        send_seconds: float,
        keeper: Keeper,
        source: object,
    ) -> None:
        super().__init__(member_id, None, None)
        self._send = send
        self._send_seconds = send_seconds
        self._keeper = keeper
        self.source = source
        """The program's own object, to know it by."""
        self.reason: RemovedReason | None = None
        """Why it was removed, if the program did not ask for it."""
        self.over = trio.Event()
        """Nothing is sent any more."""
        self.sent = 0
        """Messages, so that one can see that it gets on."""
        self.stalled = False
        """It has been waited for in vain, and has not caught up since."""
        self._scope = trio.CancelScope()
        self._cut = False
        self._writer: trio.lowlevel.Task | None = None
        self._idle = trio.lowlevel.ParkingLot()
        self._sending: Member | None = None
        # Seats that have ended and are still to be served, up to their end.
        self._leaving: dict[Member, None] = {}
        self._leavers = trio.lowlevel.ParkingLot()

    # What rooms tell it

    def seated(self, joined: Joined, ref: object) -> None:
        """Nothing to say: whoever asked has the answer."""

    def deliver(self, member: Member, batch: Batch) -> None:
        """Wake the writer, if there is something to send.

        Volatile messages are kept for one who has been sent all else.
        """
        if batch.volatile and member.cursor == batch.base:
            if member.volatile is None:
                member.volatile = deque(maxlen=self._keeper.settings.volatile_queue)
            for entry in batch.volatile:
                if isinstance(entry.event, Message) and member.id not in entry.event.excluded:
                    member.volatile.append((entry.seq, entry.event))
        if self._is_due(member):
            self._idle.unpark_all()

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        """Never called: it has no frames."""

    def broken(self, error: Exception) -> None:
        """Never called: it has no `send`."""

    def finish(self, member: Member, ref: object) -> None:
        """The seat's messages up to its end are still sent."""
        if self._is_due(member) or self._sending is member:
            self._leaving[member] = None
        self._idle.unpark_all()
        self._leavers.unpark_all()

    def flush(self) -> None:
        """The writer has been woken already."""

    def end(self, reason: LeftReason) -> None:
        """`Hub.disconnect`."""
        self._remove("kicked", reason)

    # What the manager asks of it

    async def run(self) -> None:
        """Send what is due until the connection is at its end."""
        self._writer = trio.lowlevel.current_task()
        try:
            with self._scope:
                await self._send_all()
        finally:
            self._leavers.unpark_all()
            self.over.set()

    def close(self, reason: LeftReason) -> None:
        """Leave all rooms; the writer ends once all is sent, or after `send_seconds`."""
        self._keeper.disconnect(self, reason)
        self._scope.deadline = trio.current_time() + self._send_seconds
        self._idle.unpark_all()

    async def wait_until_over(self) -> None:
        """Wait until nothing is sent any more. If cancelled, what is being sent is cut off."""
        if self._is_writer():
            # Its own send asks for the end: that it waits for itself is of no use.
            self._cut = True
            await trio.lowlevel.checkpoint()
            return
        try:
            await self.over.wait()
        except trio.Cancelled:
            self._scope.cancel()
            raise

    async def wait_until_left(self, member: Member) -> None:
        """Wait until a seat has ended, and all that it was to get has been sent."""
        with trio.move_on_after(self._send_seconds) as scope:
            while not self.over.is_set() and (
                member.end is None or (member in self._leaving and not self._is_writer())
            ):
                await self._leavers.park()
        if scope.cancelled_caught:
            self._scope.cancel()
            self._remove("lagged", "lagged")
            await self.over.wait()

    def is_waited_for(self, member: Member) -> bool:
        """Whether one of its seats is so far behind that a publisher should let the writer run."""
        return not self.stalled and member.log.head - member.cursor > _AHEAD

    # The writer

    async def _send_all(self) -> None:
        while not self._cut:
            member = self._next()
            if member is None:
                self.stalled = False
                # In a drain seats stay until the hub ends.
                if self.closed and (not self.members or self._keeper.draining):
                    return
                await self._idle.park()
                continue
            if member.log.gap(member.cursor) is not None:
                # A stream of messages has no word for a hole in it.
                self._remove("lagged", "lagged")
                return
            message = _take(member)
            self._sending = member
            try:
                with trio.move_on_after(self._send_seconds) as scope:
                    await self._send(message)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is this connection's end
                logger.info("connection %r is removed: its send raised %r", self.id, error)
                self._remove("send_failed", "disconnected")
                return
            finally:
                self._sending = None
            if scope.cancel_called:
                # Half a frame may be on its way; whatever came after it would be read as its rest.
                self._remove("send_timed_out", "lagged")
                return
            self.sent += 1
            # A send that never waits must not keep the loop to itself.
            await trio.lowlevel.checkpoint()

    def _next(self) -> Member | None:
        """The seat whose next message is due first, in the order in which the rooms took them."""
        for member in [member for member in self._leaving if not self._is_due(member)]:
            del self._leaving[member]
            self._leavers.unpark_all()
        due = (member for member in self.members.values() if self._is_due(member))
        return min(chain(self._leaving, due), key=_number, default=None)

    def _is_due(self, member: Member) -> bool:
        """Whether there is a message, or a gap, for this seat; goes past all else."""
        log = member.log
        end = log.head if member.end is None else member.end
        while True:
            if member.volatile and member.volatile[0][0] <= member.cursor:
                return True
            if member.cursor >= end:
                return False
            if member.cursor < log.base:
                return True
            event = log.at(member.cursor + 1).event
            if type(event) is Message and member.id not in event.excluded:
                return True
            member.cursor += 1

    def _remove(self, reason: RemovedReason, left: LeftReason) -> None:
        if not self.closed:
            self.reason = reason
        self.close(left)

    def _is_writer(self) -> bool:
        return self._writer is trio.lowlevel.current_task()


def _number(member: Member) -> int:
    """When a seat's next message was taken by its room; 0 if it did not come from a manager."""
    log = member.log
    if (member.volatile and member.volatile[0][0] <= member.cursor) or member.cursor < log.base:
        return 0
    event = log.at(member.cursor + 1).event
    assert type(event) is Message
    return event.payload.number if isinstance(event.payload, _Numbered) else 0


def _take(member: Member) -> str | bytes:
    """A seat's next message, which it has been given with that."""
    volatile = member.volatile
    if volatile and volatile[0][0] <= member.cursor:
        frame = _MESSAGES.event(volatile.popleft()[1])
    else:
        member.cursor += 1
        frame = member.log.frame(member.log.at(member.cursor), _MESSAGES)
    return frame[1:].decode() if frame.startswith(b"t") else frame[1:]


@final
class ConnectionManager:
    """Connections by their ids, in rooms by their names, for a WebSocket server of your own.

    Use it as an ``async with`` block, which holds the tasks that write::

        async with roomactors.ConnectionManager() as manager:
            ...

    Whatever changes something is async; whatever only looks is a plain function.

    Args:
      hub: where the rooms are, if other parts of the program use them too. Its
        bounds hold then: `HubSettings.max_rooms_per_member`, and
        `HubSettings.data_bytes` for a message as JSON, where binary takes 4/3
        of its length. None: a hub of its own, with any number of rooms for a
        connection, and messages up to 1.5 MiB as JSON.
      send_seconds: how long one send may take. Then it is cancelled, and the
        connection is removed and never written to again. A send must let
        itself be cancelled, that is, not be shielded from it.
      on_removed: an async function, called with the id and a `RemovedReason`
        when a connection was removed for a reason of the manager's; not
        after `remove_connection`. Its id is free from then on. It runs in the
        connection's own task, so it may take its time, and is the place to end
        the WebSocket and its handler. What it raises is logged.

    Leaving the block removes all connections, and waits, at most
    `send_seconds`, until they have been sent what was broadcast before. If the
    block is cancelled or raises, it ends at once.
    """

    def __init__(
        self,
        hub: Hub | None = None,
        *,
        send_seconds: float = 10.0,
        on_removed: OnRemoved | None = None,
    ) -> None:
        if not send_seconds > 0:
            raise ValueError(f"send_seconds is a number of seconds above 0, not {send_seconds!r}")
        self._hub = hub
        self._send_seconds = send_seconds
        self._on_removed = on_removed
        self._nursery: trio.Nursery | None = None
        self._block: AbstractAsyncContextManager[None] | None = None
        self._connections: dict[str, _Connection] = {}
        self._gates: dict[str, trio.Lock] = {}

    async def __aenter__(self) -> ConnectionManager:
        if self._block is not None:
            raise RuntimeError("a manager's block is entered once")
        self._block = self._run()
        await self._block.__aenter__()
        return self

    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[bool | None]:
        assert self._block is not None
        return self._block.__aexit__(kind, error, traceback)

    @asynccontextmanager
    async def _run(self) -> AsyncGenerator[None, None]:
        async with AsyncExitStack() as stack:
            if self._hub is None:
                # The hub itself says how large a value may be.
                hub = open_hub(freeze=partial(freeze, max_bytes=0), settings=OWN_HUB)
                self._hub = await stack.enter_async_context(hub)
            raised: BaseException
            try:
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    try:
                        yield
                        nursery.cancel_scope.deadline = trio.current_time() + self._send_seconds
                    finally:
                        self._nursery = None
                        for connection in self._connections.values():
                            connection.close("left")
                return
            except BaseExceptionGroup as group:
                # That there is a nursery in here is nobody's business.
                if len(group.exceptions) > 1:
                    raise
                raised = group.exceptions[0]
            raise raised

    @property
    def hub(self) -> Hub:
        """The hub under it, for what the manager has no word for.

        Raises:
          RuntimeError: the block has not been entered, and no hub was given.
        """
        if self._hub is None:
            raise RuntimeError("a manager works within its block: async with ConnectionManager()")
        return self._hub

    async def add_connection(
        self, connection_id: str, connection: object, *, send: Send | None = None
    ) -> None:
        """Take in a connection; it is in no room yet, and hears what is sent to all.

        Args:
          connection_id: its name here, and its member id in the hub.
          connection: an object with an async way to send text and binary. The
            first of these that it has is used: ``send_message``, ``send_text``
            with ``send_bytes``, ``send``.
          send: sends one message, a str as text and bytes as binary; for
            an object that has none of these.

        Raises:
          ConnectionIdTakenError: there is a connection of this id, or another
            member of the hub has it.
          MemberIdError: no member of a hub may have this id.
          TypeError: there is no way to send to it.
          RuntimeError: the manager's block has not been entered, or has been left.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint. If you are cancelled, it was not added.
        """
        check_member_id(connection_id)
        send = send or _find_send(connection)
        await trio.lowlevel.checkpoint()
        if self._nursery is None:
            raise RuntimeError("connections are added within the manager's block")
        keeper = self.hub.keeper
        added = _Connection(
            connection_id,
            send,
            send_seconds=self._send_seconds,
            keeper=keeper,
            source=connection,
        )
        if connection_id in self._connections:
            raise ConnectionIdTakenError(connection_id)
        try:
            keeper.connect(added)
        except MemberIdTakenError:
            raise ConnectionIdTakenError(connection_id) from None
        self._connections[connection_id] = added
        self._nursery.start_soon(self._serve, added, name=f"connection {connection_id}")

    async def remove_connection(self, connection_id: str, connection: object = None) -> None:
        """Take a connection out of its rooms and forget it. Idempotent.

        At once its id is free and no room lists it. What was broadcast before
        is still sent, for at most `send_seconds`; when this has returned, nothing
        is sent any more. The WebSocket itself stays as it is.

        Args:
          connection_id: the id.
          connection: the object that was added. If another has the id by now,
            that one stays: right where ids are used again, as those of users are.

        A checkpoint. If you are cancelled, it is removed all the same, and a
        send that is under way is cut off.
        """
        found = self._connections.get(connection_id)
        if found is None or (connection is not None and found.source is not connection):
            await trio.lowlevel.checkpoint()
            return
        if not found.closed:
            del self._connections[connection_id]
            found.close("left")
        await found.wait_until_over()

    async def join_room(self, connection_id: str, room: str) -> None:
        """Put a connection into a room, which begins if it must. Idempotent.

        When this has returned it is in, and gets all that is broadcast from then on.

        Raises:
          UnknownConnectionError: it was never added, or has been removed.
          RoomNameError: no room may have this name.
          RoomFullError, TooManyRoomsError, BusyError: the hub's bounds.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint: it waits for the room's turn, never for a connection. If
        you are cancelled before that, it is not in.
        """
        check_room_name(room)
        connection = self._connections.get(connection_id)
        if connection is None:
            await trio.lowlevel.checkpoint()
            raise UnknownConnectionError(connection_id)
        reply = Reply[Joined, Joined](same)
        command = Join(
            view=MemberView(member=connection_id),
            outlet=connection,
            again=True,
            keep_info=True,
            answer=reply,
        )
        try:
            await self.hub.keeper.ask(room, command, reply)
        except NoSuchMemberError:
            # It was removed while this waited.
            raise UnknownConnectionError(connection_id) from None

    async def leave_room(self, connection_id: str, room: str) -> None:
        """Take a connection out of a room. Idempotent, also for one that is unknown.

        What was broadcast to the room before is still sent; when this has
        returned it is out, and nothing of the room is sent to it any more. One
        that does not take the rest within `send_seconds` is removed as ``lagged``.

        Raises:
          RoomNameError: no room may have this name.

        A checkpoint. If you are cancelled, it leaves all the same.
        """
        check_room_name(room)
        connection = self._connections.get(connection_id)
        member = None if connection is None else connection.members.get(room)
        if connection is None or member is None:
            await trio.lowlevel.checkpoint()
            return
        self.hub.keeper.leave_now(member, "left")
        await connection.wait_until_left(member)

    async def broadcast_to_room(
        self, room: str, message: str | bytes, *, except_: Iterable[str] = ()
    ) -> None:
        """Send a message to every connection in a room; to nobody if there is no such room.

        Args:
          room: its name.
          message: a str is sent as text, bytes are sent as binary.
          except_: ids of connections that do not get it.

        Raises:
          TypeError: the message is neither str nor bytes.
          InvalidDataError: the text has half of a surrogate pair.
          TooLargeError: as JSON it takes more than `HubSettings.data_bytes`.
          RoomNameError: no room may have this name.
          DrainingError, ClosedHubError: the hub is stopping.

        All connections get a room's messages in the same order, and each gets
        what one task broadcasts in the order of its calls, whatever the rooms.

        A checkpoint: it waits for the room's turn, and for the processor if
        connections that keep up have not had their share of it, never for a slow
        connection. If you are cancelled before the turn, it is not sent.
        """
        check_room_name(room)
        data = self._data(message)
        keeper = self.hub.keeper
        if room not in keeper.rooms and not keeper.draining:
            # Nobody is in, and a name that comes from outside should not begin a room.
            await trio.lowlevel.checkpoint()
            return
        await self._broadcast(room, data, frozenset(except_))

    async def broadcast_to_all(self, message: str | bytes) -> None:
        """Send a message to every connection once, whatever rooms it is in, or none.

        Everyone in the hub gets it: with a hub that has other members, they too.

        Raises:
          TypeError, InvalidDataError, TooLargeError: as for `broadcast_to_room`.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint, like `broadcast_to_room`.
        """
        await self._broadcast(EVERYONE, self._data(message), NOBODY)

    def get_room_connections(self, room: str) -> set[str]:
        """The ids of the connections that are in a room now; none if there is no such room."""
        return {
            connection.id
            for connection, member in self._seats(room)
            if self._connections.get(connection.id) is connection and not member.leaving
        }

    def get_connection_rooms(self, connection_id: str) -> set[str]:
        """The rooms that a connection is in now; none for one that is unknown."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return set()
        return {room for room in connection.rooms() if not connection.members[room].leaving}

    # Below the surface

    async def _serve(self, connection: _Connection) -> None:
        await connection.run()
        # From here to the hook nothing waits: what the hook does first, it
        # does before its id can be somebody else's.
        if self._connections.get(connection.id) is connection:
            del self._connections[connection.id]
        if connection.reason is None or self._on_removed is None:
            return
        try:
            await self._on_removed(connection.id, connection.reason)
        except Exception:
            logger.exception("on_removed failed for %r", connection.id)

    def _data(self, message: str | bytes) -> _Numbered:
        match message:
            case str():
                data = _Numbered(freeze(message, max_bytes=0))
            case bytes():
                data = _Numbered(binary_to_data(message))
            case _:
                raise TypeError(
                    f"a message is a str or bytes, not a {type(message).__name__}; "
                    "encode it first, for instance with json.dumps"
                )
        limit = self.hub.keeper.settings.data_bytes
        if len(data) > limit:
            raise TooLargeError("the message", len(data), limit)
        return data

    async def _broadcast(self, name: str, data: _Numbered, excluded: frozenset[str]) -> None:
        def number(_receipt: Receipt) -> None:
            data.number = next(_numbers)

        reply = Reply[Receipt, None](number)
        command = Broadcast(data=data, excluded=excluded, answer=reply)
        # One at a time in each room, so that all publishers together are not
        # further ahead than one would be.
        gate = self._gates.setdefault(name, trio.Lock())
        try:
            async with gate:
                await self._wait_for_those_who_keep_up(name)
                await self.hub.keeper.ask(name, command, reply)
        finally:
            if not gate.locked():
                self._gates.pop(name, None)

    async def _wait_for_those_who_keep_up(self, name: str) -> None:
        """Let the writers run, if one is behind and gets on.

        A publisher needs fewer passes of the loop for a message than a writer. Without this one
        that never rests would be ahead of every connection by more than the log holds, although
        no peer is slow. A checkpoint only if it waits.
        """
        while True:
            behind = {
                connection: connection.sent
                for connection, member in self._seats(name)
                if connection.is_waited_for(member)
            }
            if not behind:
                return
            for _ in range(_PASSES):
                await trio.lowlevel.checkpoint()
            for connection, sent in behind.items():
                connection.stalled = connection.sent == sent

    def _seats(self, name: str) -> Iterator[tuple[_Connection, Member]]:
        """Connections in a room, with their seats there."""
        if name == EVERYONE:
            for connection in self._connections.values():
                member = connection.members.get(EVERYONE)
                if member is not None:
                    yield connection, member
            return
        room = None if self._hub is None else self._hub.keeper.rooms.get(name)
        for member in () if room is None else room.roster:
            if isinstance(member.outlet, _Connection):
                yield member.outlet, member
