"""The words for what went wrong: error codes, and close codes with what a client does next.

Both lists are `wire.md`'s, and complete: codes that a later feature brings are
here before it, so that a client written today knows them.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum, unique
from typing import Final, final

from roomactors import errors


@final
@unique
class ErrorCode(StrEnum):
    """What `error.code` may say."""

    BAD_JSON = "bad_json"
    BAD_MESSAGE = "bad_message"
    UNKNOWN_TYPE = "unknown_type"
    BAD_ROOM_NAME = "bad_room_name"
    NOT_A_MEMBER = "not_a_member"
    NO_SUCH_MEMBER = "no_such_member"
    FORBIDDEN = "forbidden"
    ROOM_FULL = "room_full"
    TOO_MANY_ROOMS = "too_many_rooms"
    TOO_LARGE = "too_large"
    RATE_LIMITED = "rate_limited"
    BUSY = "busy"
    ASK_FAILED = "ask_failed"
    ASK_TIMEOUT = "ask_timeout"
    NOT_SUPPORTED = "not_supported"
    INTERNAL = "internal"


@final
@unique
class CloseCode(IntEnum):
    """Why a connection was closed, and whether its client should come back."""

    DONE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_TEXT = 1007
    POLICY = 1008
    TOO_LARGE = 1009
    INTERNAL = 1011
    RESTARTING = 1012
    OVERLOADED = 1013
    NOT_AUTHORISED = 4001
    TOKEN_EXPIRED = 4002
    KICKED = 4003
    TOO_SLOW = 4008
    TAKEN_OVER = 4009
    RATE_LIMIT = 4029

    @property
    def meaning(self) -> str:
        """A few words for a person; short enough to be a close frame's reason."""
        return _CLOSES[self][0]

    @property
    def reconnect(self) -> bool:
        """Whether the same client may expect more of another try, after a pause."""
        return _CLOSES[self][1]


_CLOSES: Final[dict[CloseCode, tuple[str, bool]]] = {
    CloseCode.DONE: ("done", False),
    CloseCode.GOING_AWAY: ("going away", True),
    CloseCode.PROTOCOL_ERROR: ("protocol error", False),
    CloseCode.UNSUPPORTED_DATA: ("binary frame where text is spoken", False),
    CloseCode.INVALID_TEXT: ("not UTF-8", False),
    CloseCode.POLICY: ("policy", False),
    CloseCode.TOO_LARGE: ("too large", False),
    CloseCode.INTERNAL: ("internal error", True),
    CloseCode.RESTARTING: ("restarting, come back", True),
    CloseCode.OVERLOADED: ("overloaded, come back later", True),
    CloseCode.NOT_AUTHORISED: ("not authorised, do not retry", False),
    CloseCode.TOKEN_EXPIRED: ("token expired, come back with a new one", True),
    CloseCode.KICKED: ("kicked", False),
    CloseCode.TOO_SLOW: ("too slow", True),
    CloseCode.TAKEN_OVER: ("taken over by a newer connection of the session, do not retry", False),
    CloseCode.RATE_LIMIT: ("rate limit", True),
}

_CODES: Final[dict[type[BaseException], ErrorCode]] = {
    errors.InvalidDataError: ErrorCode.BAD_MESSAGE,
    errors.RoomNameError: ErrorCode.BAD_ROOM_NAME,
    errors.RoomFullError: ErrorCode.ROOM_FULL,
    errors.TooManyRoomsError: ErrorCode.TOO_MANY_ROOMS,
    errors.MemberIdTakenError: ErrorCode.FORBIDDEN,
    errors.NotAMemberError: ErrorCode.NOT_A_MEMBER,
    errors.ClosedSeatError: ErrorCode.NOT_A_MEMBER,
    errors.NoSuchMemberError: ErrorCode.NO_SUCH_MEMBER,
    errors.TooLargeError: ErrorCode.TOO_LARGE,
    errors.BusyError: ErrorCode.BUSY,
    errors.DrainingError: ErrorCode.BUSY,
    errors.ClosedHubError: ErrorCode.BUSY,
}


def answer_to(error: BaseException) -> tuple[ErrorCode, str]:
    """What a client is told of an exception: a code, and one sentence for a person.

    What is not a refusal is `internal`, and its text stays here: it may show
    what is nobody's business.
    """
    code = _CODES.get(type(error))
    if code is None:
        return ErrorCode.INTERNAL, "the server failed at this; it has been reported"
    return code, str(error)
