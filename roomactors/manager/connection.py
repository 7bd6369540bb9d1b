"""One connection: an outlet with one task that writes to it.

It reads from its rooms' logs by its seats' cursors, so a slow one costs no
memory beside them. What removes it, and who is told of that, is in `manager`.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal, TypeAlias, cast, final

import trio

from roomactors.core.batch import Batch
from roomactors.core.commands import Joined
from roomactors.core.data import Data
from roomactors.core.events import LeftReason, Message
from roomactors.core.keeper import Keeper
from roomactors.core.member import Member
from roomactors.core.outlet import Outlet
from roomactors.protocol.json_data import Json
from roomactors.protocol.raw import RawEncoder

logger = logging.getLogger("roomactors")

Send: TypeAlias = Callable[[str | bytes], Awaitable[object]]
"""Sends one whole message: text for str, binary for bytes."""

RemovedReason = Literal["send_failed", "send_timed_out", "lagged", "kicked"]
"""Why a connection was removed although the program did not ask the manager to.

``send_failed``: its send raised; ``send_timed_out``: its send took longer than `send_seconds`;
``lagged``: messages that it was to get are in the room's log no more, or it left a room and did
not take the rest of it in `send_seconds`; ``kicked``: by `Hub.disconnect`.
"""

_AHEAD: Final = 8
"""Messages: a publisher waits for nobody who is so near."""
# Cached beside the log's entry like any other protocol's frames, and counted there.
_MESSAGES: Final = RawEncoder(text=b"t".__add__, binary=b"b".__add__)


@final
class Numbered(Data):
    """A message with its number in the order in which all rooms of the process took theirs."""

    number = 0

    def value(self) -> object:
        """A fresh Python value."""
        return Json(self).value()


def find_send(connection: object) -> Send:
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
class Connection(Outlet):
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
        "_due",
        "_idle",
        "_keeper",
        "_leavers",
        "_scope",
        "_send",
        "_send_seconds",
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
        # Seats to be served, whether they have ended or not; the one that is being served, too.
        self._due: dict[Member, None] = {}
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
        self._look_at(member)

    def taken(self, member: Member, batch: Batch, count: int) -> None:
        """Never called: it has no frames."""

    def broken(self, error: Exception) -> None:
        """Never called: it has no `send`."""

    def finish(self, member: Member, ref: object) -> None:
        """The seat's messages up to its end are still sent."""
        self._look_at(member)
        self._idle.unpark_all()
        self._leavers.unpark_all()

    def flush(self) -> None:
        """The writer has been woken already."""

    def end(self, reason: LeftReason) -> None:
        """`Hub.disconnect`."""
        self._remove("kicked", reason)

    # What the manager asks of it

    async def run(self) -> None:
        """Send what is due until the connection is at its end. Cancelled, it is at its end."""
        self._writer = trio.lowlevel.current_task()
        try:
            with self._scope:
                await self._send_all()
        finally:
            self._keeper.disconnect(self, "left")
            self._leavers.unpark_all()
            self.over.set()

    def close(self, reason: LeftReason) -> None:
        """Leave all rooms; the writer ends once all is sent, or after `send_seconds`."""
        self._keeper.disconnect(self, reason)
        # In a drain they do not say that a seat has ended.
        for member in self.members.values():
            self._look_at(member)
        latest = trio.current_time() + self._send_seconds
        self._scope.deadline = min(self._scope.deadline, latest)
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
                member.end is None or (member in self._due and not self._is_writer())
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
            failure = await self._send_one(_take(member))
            if failure is not None:
                self._remove(failure, "disconnected" if failure == "send_failed" else "lagged")
                return
            self.sent += 1
            # A send that never waits must not keep the loop to itself.
            await trio.lowlevel.checkpoint()

    async def _send_one(self, message: str | bytes) -> RemovedReason | None:
        failure: RemovedReason | None = None
        try:
            with trio.move_on_after(self._send_seconds) as scope:
                await self._send(message)
            if scope.cancel_called:
                # Half a frame may be on its way; whatever came after it would be read as its rest.
                failure = "send_timed_out"
        # With a star: a send that has tasks may raise an error together with its cancellation.
        except* Exception as errors:  # noqa: BLE001 - whatever it is, it is this connection's end
            raised = ", ".join(map(repr, errors.exceptions))
            logger.info("connection %r is removed: its send raised %s", self.id, raised)
            failure = "send_failed"
        return failure

    def _next(self) -> Member | None:
        """The seat whose next message is due first, in the order in which the rooms took them."""
        for member in [member for member in self._due if not self._is_due(member)]:
            del self._due[member]
            self._leavers.unpark_all()
        return min(self._due, key=_number, default=None)

    def _look_at(self, member: Member) -> None:
        if self._is_due(member):
            self._due[member] = None
            self._idle.unpark_all()

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
    return event.payload.number if isinstance(event.payload, Numbered) else 0


def _take(member: Member) -> str | bytes:
    """A seat's next message, which it has been given with that."""
    volatile = member.volatile
    if volatile and volatile[0][0] <= member.cursor:
        frame = _MESSAGES.event(volatile.popleft()[1])
    else:
        member.cursor += 1
        frame = member.log.frame(member.log.at(member.cursor), _MESSAGES)
    return frame[1:].decode() if frame.startswith(b"t") else frame[1:]
