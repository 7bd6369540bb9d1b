"""The raw protocol as one connection speaks it: what comes in is broadcast, and that is all."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import trio

from roomactors.core.commands import Broadcast, Join, Joined
from roomactors.core.data import Data
from roomactors.core.member import Member, MemberView
from roomactors.errors import RoomActorsError
from roomactors.protocol.codes import CloseCode
from roomactors.protocol.raw import RawEncoder, binary_to_data, text_to_data
from roomactors.server.frames import binary_frame, text_frame

if TYPE_CHECKING:
    from roomactors.server.connection import Connection

ENCODER = RawEncoder(text_frame, binary_frame)


@final
class RawDialogue:
    """Frames to broadcasts.

    Args:
      connection: the connection.
      room: the one room that it is in.
      echo: whether it gets its own messages.
    """

    encoder = ENCODER
    abandoned = False
    done = False

    def __init__(self, connection: Connection, *, room: str, echo: bool) -> None:
        self._connection = connection
        self._room = room
        self._echo = echo

    def opened(self) -> None:
        """Join the room."""
        outlet = self._connection.outlet
        # Nothing tells the messages of two rooms apart here.
        outlet.max_rooms = 1
        view = MemberView(member=outlet.id, user=outlet.user)
        error = self._connection.send_to_room(
            self._room, Join(view=view, outlet=outlet, answer=self)
        )
        if error is not None:
            self.fail(error)

    def text(self, payload: bytes) -> None:
        """Broadcast a text."""
        self._broadcast(text_to_data(payload))

    def binary(self, payload: bytes) -> None:
        """Broadcast bytes."""
        self._broadcast(binary_to_data(payload))

    def _broadcast(self, data: Data) -> None:
        connection = self._connection
        if connection.draining:
            return
        outlet = connection.outlet
        error = connection.send_to_room(
            self._room,
            Broadcast(data=data, sender=outlet.id, outlet=outlet, echo=self._echo),
        )
        if error is not None:
            self.fail(error)
            return
        if connection.bucket is not None:
            # There is no word for "too often": what is sent counts, and the
            # next is read when the rate allows it.
            wait = connection.bucket.overdraw(trio.current_time())
            if wait:
                connection.pause_for(wait)

    # An answer to its own join (see `Answer`)

    def set(self, value: Joined) -> None:
        """It is in."""

    def fail(self, error: RoomActorsError) -> None:
        """It has no place: there is no word for it, so it is closed."""
        self._connection.close(CloseCode.OVERLOADED, str(error))

    # What is said to the peer: only messages

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        """Nothing."""
        return b""

    def left_frame(self, member: Member, ref: object) -> bytes:
        """Nothing."""
        return b""

    def seat_ended(self, member: Member) -> None:
        """Its one room has ended for it: so has the connection."""
        code = CloseCode.KICKED if member.reason == "kicked" else CloseCode.DONE
        self._connection.close(code, left=member.reason or "left")

    def closing_frame(self, reason: str, reconnect_after: float) -> bytes:
        """Nothing."""
        return b""
