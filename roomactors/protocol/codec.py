"""What a client of the plain JSON protocol may ask, and how its text becomes that.

`decode` takes one text message and gives one frozen request, or raises
`RequestError` with what to answer. It checks in the order of `wire.md`: JSON,
`type`, field types, room name; whether there is a seat, and the rate, are for
those who know them. What a later version brings is an `UnsupportedRequest`,
told apart by name alone: of what it does not know yet this cannot judge the shape.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias, final

import msgspec

from roomactors.core.events import NOBODY
from roomactors.core.names import MAX_MEMBER_ID_BYTES, check_room_name
from roomactors.errors import RoomNameError
from roomactors.protocol.codes import ErrorCode
from roomactors.protocol.json_data import BadJson, Json, check_json, compact

EVERYONE: Final = "$all"
"""The room in which each connection has a hidden seat; of the server's, the one to be joined."""

MAX_REF_BYTES: Final = 128
"""It is sent back as it came, so it is kept while the request is under way."""
MAX_EXCEPT: Final = 1000
"""Ids in `except`; each read of the log looks into them."""
MAX_MEMBERS_PAGE: Final = 200
"""Entries in one `members` or `joined`: at most about 256 KiB with the largest `info`."""

Ref: TypeAlias = str | int
_Fields: TypeAlias = dict[str, object]

# msgspec's structs, not attrs: one is made per message, in 40 ns instead of 500.


@final
class JoinRequest(msgspec.Struct, frozen=True, gc=False):
    """Take a seat in a room, or be told of the one already held."""

    room: str
    ref: Ref | None
    info: Json | None
    """What the others shall see; None also where it was given as null."""
    has_info: bool
    """Whether `info` was given: a second join replaces it only then."""


@final
class LeaveRequest(msgspec.Struct, frozen=True, gc=False):
    """Give up the seat in a room."""

    room: str
    ref: Ref | None


@final
class BroadcastRequest(msgspec.Struct, frozen=True, gc=False):
    """Send a value to every member of a room."""

    room: str
    ref: Ref | None
    data: Json
    echo: bool
    except_: frozenset[str]
    volatile: bool


@final
class MembersRequest(msgspec.Struct, frozen=True, gc=False):
    """One page of a room's roster."""

    room: str
    ref: Ref
    after: int | None
    """Where the page before ended: its `members_next`."""
    limit: int


@final
class PingRequest(msgspec.Struct, frozen=True, gc=False):
    """A sign of life is wanted."""

    ref: Ref | None


@final
class UnsupportedRequest(msgspec.Struct, frozen=True, gc=False):
    """Something of the protocol that this version has not got; `not_supported` is the answer."""

    type: str
    ref: Ref | None
    room: str | None
    what: str
    """The type or the field that is not supported."""

    @property
    def message(self) -> str:
        """The answer as a sentence."""
        return f"{self.what!r} is not supported here"


Request: TypeAlias = (
    JoinRequest
    | LeaveRequest
    | BroadcastRequest
    | MembersRequest
    | PingRequest
    | UnsupportedRequest
)


@final
class RequestError(Exception):
    """A message was refused before anybody was asked; it is answered with an `error`."""

    def __init__(
        self, code: ErrorCode, message: str, *, ref: Ref | None = None, room: str | None = None
    ) -> None:
        super().__init__(code, message)
        self.code, self.message, self.ref, self.room = code, message, ref, room

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


def decode(text: bytes) -> Request:
    """Read one text message.

    Raises:
      RequestError: with the code to answer, and the `ref` and `room` of the
        message where they could be read and are valid.
    """
    try:
        fields = check_json(text)
    except BadJson as error:
        raise RequestError(ErrorCode.BAD_JSON, str(error)) from None
    if type(fields) is not dict:
        raise _bad("a message is one JSON object")
    kind = fields.get("type")
    try:
        if type(kind) is not str:
            raise _bad("`type` is missing, or is not a string")
        read = _READERS.get(kind)
        if read is None:
            raise RequestError(ErrorCode.UNKNOWN_TYPE, "there is no such `type`")
        return read(fields)
    except RequestError as error:
        raise RequestError(
            error.code, error.message, ref=_ref_if_valid(fields), room=_room_if_valid(fields)
        ) from None


def _join(fields: _Fields) -> Request:
    room, ref = _room_field(fields), _ref(fields)
    has_info = "info" in fields
    info = None
    if has_info and fields["info"] is not None:
        info = compact(fields["info"])
    if room != EVERYONE:
        _check_name(room)
    return _later("join", _LATER_IN_JOIN, fields) or JoinRequest(room, ref, info, has_info)


def _leave(fields: _Fields) -> Request:
    room, ref = _room_field(fields), _ref(fields)
    _check_name(room)
    return LeaveRequest(room, ref)


def _broadcast(fields: _Fields) -> Request:
    room, ref = _room_field(fields), _ref(fields)
    if "data" not in fields:
        raise _bad("`data` is missing")
    echo, volatile = fields.get("echo", True), fields.get("volatile", False)
    if type(echo) is not bool:
        raise _bad("`echo` is true or false")
    if type(volatile) is not bool:
        raise _bad("`volatile` is true or false")
    except_ = _member_ids(fields["except"]) if "except" in fields else NOBODY
    _check_name(room)
    return _later("broadcast", _LATER_IN_BROADCAST, fields) or BroadcastRequest(
        room, ref, compact(fields["data"]), echo, except_, volatile
    )


def _members(fields: _Fields) -> Request:
    room, ref = _room_field(fields), _ref(fields)
    if ref is None:
        raise _bad("`ref` is missing")
    after, limit = None, fields.get("limit", MAX_MEMBERS_PAGE)
    if "after" in fields:
        place = fields["after"]
        if type(place) is not str or not _PLACE.fullmatch(place):
            raise _bad("`after` is what `members_next` was")
        after = int(place)
    if type(limit) is not int or not 1 <= limit <= MAX_MEMBERS_PAGE:
        raise _bad(f"`limit` is an integer from 1 to {MAX_MEMBERS_PAGE}")
    _check_name(room)
    return MembersRequest(room, ref, after, limit)


def _ping(fields: _Fields) -> Request:
    return PingRequest(_ref(fields))


def _unsupported(fields: _Fields) -> Request:
    kind = str(fields["type"])
    return UnsupportedRequest(kind, _ref_if_valid(fields), _room_if_valid(fields), kind)


_READERS: Final[dict[str, Callable[[_Fields], Request]]] = {
    "join": _join,
    "leave": _leave,
    "broadcast": _broadcast,
    "members": _members,
    "ping": _ping,
    "send": _unsupported,
    "ask": _unsupported,
    "info": _unsupported,
    "history": _unsupported,
}

# `params` is for room logic: where there is none to read it, it would be ignored.
_LATER_IN_JOIN: Final = frozenset({"since", "params"})
_LATER_IN_BROADCAST: Final = frozenset({"id", "key"})

_PLACE: Final = re.compile(r"0|[1-9][0-9]{0,17}")


def _later(kind: str, names: frozenset[str], fields: _Fields) -> UnsupportedRequest | None:
    """The answer to fields that a later version will read; all others are read by now."""
    if names.isdisjoint(fields):
        return None
    what = min(names & fields.keys())
    return UnsupportedRequest(kind, _ref(fields), _room_field(fields), what)


def _room_field(fields: _Fields) -> str:
    room = fields.get("room")
    if type(room) is not str:
        raise _bad("`room` is missing, or is not a string")
    return room


def _ref(fields: _Fields) -> Ref | None:
    if "ref" not in fields:
        return None
    ref = fields["ref"]
    # A boolean is an int to Python and not to JSON; integers have 64 bits by now.
    if type(ref) is int:
        return ref
    if type(ref) is str and _fits(ref, MAX_REF_BYTES):
        return ref
    raise _bad(f"`ref` is an integer, or a string of at most {MAX_REF_BYTES} bytes")


def _member_ids(ids: object) -> frozenset[str]:
    if type(ids) is not list:
        raise _bad("`except` is a list of member ids")
    if len(ids) > MAX_EXCEPT:
        raise RequestError(
            ErrorCode.TOO_LARGE, f"`except` has {len(ids)} ids (limit: {MAX_EXCEPT})"
        )
    for one in ids:
        if type(one) is not str or not _fits(one, MAX_MEMBER_ID_BYTES):
            raise _bad(f"`except` is of strings of at most {MAX_MEMBER_ID_BYTES} bytes")
    return frozenset(ids)


def _fits(text: str, limit: int) -> bool:
    return len(text) <= limit and (text.isascii() or len(text.encode()) <= limit)


def _check_name(room: str) -> None:
    if room == EVERYONE:
        raise RequestError(
            ErrorCode.FORBIDDEN, f"{EVERYONE} is the server's; it can be joined, and that is all"
        )
    try:
        check_room_name(room)
    except RoomNameError as error:
        raise RequestError(ErrorCode.BAD_ROOM_NAME, str(error)) from None


def _ref_if_valid(fields: _Fields) -> Ref | None:
    try:
        return _ref(fields)
    except RequestError:
        return None


def _room_if_valid(fields: _Fields) -> str | None:
    try:
        room = _room_field(fields)
        if room != EVERYONE:
            _check_name(room)
    except RequestError:
        return None
    return room


def _bad(message: str) -> RequestError:
    return RequestError(ErrorCode.BAD_MESSAGE, message)
