"""Every exception of roomactors.

::

    RoomActorsError
    ├── InvalidDataError (ValueError)        you: a value that JSON cannot carry
    ├── RoomNameError (ValueError)           you: a name that no room may have
    ├── MemberIdError (ValueError)           you: an id that no member may have
    ├── RefusedError                         the room said no, and nothing changed
    │   ├── RoomFullError
    │   ├── TooManyRoomsError
    │   ├── MemberIdTakenError
    │   ├── NotAMemberError
    │   ├── NoSuchMemberError
    │   ├── TooLargeError
    │   ├── BusyError
    │   └── DrainingError
    ├── ClosedSeatError                      you or the room ended this seat
    ├── ClosedHubError                       the hub's block has been left
    ├── BrokenRoomError                      the room's task failed: a bug, and it is logged
    ├── AdmissionRefused                     what an ``admit`` function raises to refuse
    ├── CannotConnectError (ConnectionError) a server could not be reached, or said no
    └── ManagerError
        ├── ConnectionIdTakenError           an id may name one connection at a time
        └── UnknownConnectionError           no connection has that id

Each is built from facts and makes its own sentence, so that it pickles and so
that a program can read the facts back.
"""

from __future__ import annotations


class RoomActorsError(Exception):
    """The root of all that roomactors raises on purpose."""


class InvalidDataError(RoomActorsError, ValueError):
    """A value cannot be sent: it is not JSON, or not JSON that everyone can read."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"this cannot be sent as JSON: {self.problem}"


class RoomNameError(RoomActorsError, ValueError):
    """No room may have this name."""

    def __init__(self, name: object, problem: str) -> None:
        super().__init__(name, problem)
        self.name, self.problem = name, problem

    def __str__(self) -> str:
        return f"a room's name {self.problem}"


class MemberIdError(RoomActorsError, ValueError):
    """No member may have this id."""

    def __init__(self, member: object, problem: str) -> None:
        super().__init__(member, problem)
        self.member, self.problem = member, problem

    def __str__(self) -> str:
        return f"a member's id {self.problem}"


class RefusedError(RoomActorsError):
    """The room said no, and nothing changed."""


class RoomFullError(RefusedError):
    """The room already has as many members as it allows."""

    def __init__(self, room: str, limit: int) -> None:
        super().__init__(room, limit)
        self.room, self.limit = room, limit

    def __str__(self) -> str:
        return f"room {self.room!r} is full (limit: {self.limit} members)"


class TooManyRoomsError(RefusedError):
    """The member is already in as many rooms as it may be."""

    def __init__(self, member: str, limit: int) -> None:
        super().__init__(member, limit)
        self.member, self.limit = member, limit

    def __str__(self) -> str:
        return f"{self.member!r} is in {self.limit} rooms already, and may be in no more"


class MemberIdTakenError(RefusedError):
    """Somebody else has this member id."""

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member

    def __str__(self) -> str:
        return f"there is a member {self.member!r} already"


class NotAMemberError(RefusedError):
    """Only members may do this, and the one who asked is none."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"join room {self.room!r} first"


class NoSuchMemberError(RefusedError):
    """Nobody is connected under this member id."""

    def __init__(self, member: str) -> None:
        super().__init__(member)
        self.member = member

    def __str__(self) -> str:
        return f"there is no member {self.member!r}"


class TooLargeError(RefusedError):
    """A value is larger than its limit."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        super().__init__(what, size, limit)
        self.what, self.size, self.limit = what, size, limit

    def __str__(self) -> str:
        return f"{self.what} takes {self.size} bytes as JSON (limit: {self.limit})"


class BusyError(RefusedError):
    """There is no place for this now; later there may be."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"the server has no place for room {self.room!r} now; try again later"


class DrainingError(RefusedError):
    """The hub is stopping and takes nothing new."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "the hub is stopping and takes nothing new"


class ClosedSeatError(RoomActorsError):
    """This seat is no longer in the room."""

    def __init__(self, room: str, reason: str) -> None:
        super().__init__(room, reason)
        self.room, self.reason = room, reason

    def __str__(self) -> str:
        return f"this seat in room {self.room!r} has ended ({self.reason})"


class ClosedHubError(RoomActorsError):
    """The hub's ``async with`` block has been left."""

    def __init__(self) -> None:
        super().__init__()

    def __str__(self) -> str:
        return "the hub is closed"


class BrokenRoomError(RoomActorsError):
    """The room's task failed while it held this command."""

    def __init__(self, room: str) -> None:
        super().__init__(room)
        self.room = room

    def __str__(self) -> str:
        return f"room {self.room!r} failed while it handled this; see the log for the traceback"


class AdmissionRefused(RoomActorsError):
    """Raised by an ``admit`` function: answer the upgrade with this HTTP status.

    Args:
      status: an HTTP status from 400 to 599; 401 without a good token, 403 for
        someone who is known but not allowed.
      message: one sentence for the person at the other end.
    """

    def __init__(self, status: int = 403, message: str = "you may not connect") -> None:
        super().__init__(status, message)
        self.status, self.message = status, message

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


class CannotConnectError(RoomActorsError, ConnectionError):
    """A WebSocket server could not be reached, or did not let us in.

    Args:
      url: without its query, which may hold a secret.
      problem: what went wrong, as the end of a sentence.
      status: the HTTP status with which the server refused; None if it was not that.
    """

    def __init__(self, url: str, problem: str, status: int | None = None) -> None:
        super().__init__(url, problem, status)
        self.url, self.problem, self.status = url, problem, status

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.problem}"


class ManagerError(RoomActorsError):
    """What `ConnectionManager` raises of its own."""

    def __init__(self, connection: object) -> None:
        super().__init__(connection)
        self.connection = connection


class ConnectionIdTakenError(ManagerError):
    """There is a connection of this id already."""

    def __str__(self) -> str:
        return f"there is a connection {self.connection!r} already"


class UnknownConnectionError(ManagerError):
    """No connection has this id; it was never added, or has been removed."""

    def __str__(self) -> str:
        return f"there is no connection {self.connection!r}"
