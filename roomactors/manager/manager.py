"""The manager: connections by their ids, in rooms by their names.

Nothing here knows a WebSocket library. What sends to a connection is in
`connection`, and what a broadcast waits for in `publisher`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Final, TypeAlias, final

import trio

from roomactors.core.commands import Join, Joined
from roomactors.core.events import EVERYONE, NOBODY
from roomactors.core.hub import Hub, open_hub
from roomactors.core.member import MemberView
from roomactors.core.names import check_member_id, check_room_name
from roomactors.core.reply import Reply, same
from roomactors.core.settings import KIB, MIB, HubSettings, RoomSettings
from roomactors.errors import (
    ConnectionIdTakenError,
    MemberIdTakenError,
    NoSuchMemberError,
    UnknownConnectionError,
)
from roomactors.manager.connection import Connection, RemovedReason, Send, find_send
from roomactors.manager.publisher import Publisher, connections_in, to_data
from roomactors.protocol.json_data import freeze

logger = logging.getLogger("roomactors")

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


@final
class ConnectionManager:
    """Connections by their ids, in rooms by their names, for a WebSocket server of your own.

    Use it as an ``async with`` block, which holds the tasks that write, or over
    a hub, which holds them then::

        async with roomactors.ConnectionManager() as manager:
            ...

        manager = roomactors.ConnectionManager(hub)

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
    block is cancelled or raises, it ends at once. Without a block, the end of
    the hub does the same, within `HubSettings.drain_seconds`; and what a task
    raises that serves a connection is logged, and never reaches the hub.
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
        self._connections: dict[str, Connection] = {}
        self._publisher = Publisher()

    async def __aenter__(self) -> ConnectionManager:
        if self._block is not None or self._connections:
            raise RuntimeError("a manager's block is entered once, before connections are added")
        self._block = self._run()
        await self._block.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        assert self._block is not None
        # What it waits for is bounded there, and ends at once if cancelled.
        return await self._block.__aexit__(kind, error, traceback)  # noqa: ASYNC102

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
            raise RuntimeError(
                "a manager without a hub works within its block: async with ConnectionManager()"
            )
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
          RuntimeError: the manager has no hub and its block has not been entered, or its block
            has been left.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint. If you are cancelled, it was not added.
        """
        check_member_id(connection_id)
        send = send or find_send(connection)
        await trio.lowlevel.checkpoint()
        keeper = self.hub.keeper
        nursery = self._nursery
        if nursery is None and self._block is not None:
            raise RuntimeError("connections are added within the manager's block; it has been left")
        added = Connection(
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
        serve, name = partial(self._serve, added), f"connection {connection_id}"
        if nursery is not None:
            nursery.start_soon(serve, name=name)
        else:
            keeper.start_task(serve, stop=partial(added.close, "closed"), name=name)

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
        keeper = self.hub.keeper
        data = to_data(message, keeper.settings.data_bytes)
        if room not in keeper.rooms and not keeper.draining:
            # Nobody is in, and a name that comes from outside should not begin a room.
            await trio.lowlevel.checkpoint()
            return
        await self._publisher.publish(keeper, room, data, frozenset(except_))

    async def broadcast_to_all(self, message: str | bytes) -> None:
        """Send a message to every connection once, whatever rooms it is in, or none.

        Everyone in the hub gets it: with a hub that has other members, they too.

        Raises:
          TypeError, InvalidDataError, TooLargeError: as for `broadcast_to_room`.
          DrainingError, ClosedHubError: the hub is stopping.

        A checkpoint, like `broadcast_to_room`.
        """
        keeper = self.hub.keeper
        data = to_data(message, keeper.settings.data_bytes)
        await self._publisher.publish(keeper, EVERYONE, data, NOBODY)

    def get_room_connections(self, room: str) -> set[str]:
        """The ids of the connections that are in a room now; none if there is no such room."""
        if self._hub is None:
            return set()
        return {
            connection.id
            for connection, member in connections_in(self._hub.keeper, room)
            if self._connections.get(connection.id) is connection and not member.leaving
        }

    def get_connection_rooms(self, connection_id: str) -> set[str]:
        """The rooms that a connection is in now; none for one that is unknown."""
        connection = self._connections.get(connection_id)
        if connection is None:
            return set()
        return {room for room in connection.rooms() if not connection.members[room].leaving}

    # Below the surface

    async def _serve(self, connection: Connection) -> None:
        try:
            await connection.run()
        finally:
            # From here to the hook nothing waits: what the hook does first, it
            # does before its id can be somebody else's.
            if self._connections.get(connection.id) is connection:
                del self._connections[connection.id]
        if connection.reason is None or self._on_removed is None:
            return
        try:
            await self._on_removed(connection.id, connection.reason)
        # With a star: an error may come together with a cancellation.
        except* Exception:
            logger.exception("on_removed failed for %r", connection.id)
