"""The plain JSON protocol as one connection speaks it."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, assert_never, final

import trio

from roomactors.core.commands import (
    Broadcast,
    Join,
    Joined,
    Leave,
    ListMembers,
    Present,
    Receipt,
)
from roomactors.core.events import EVERYONE
from roomactors.core.member import Member, MemberView
from roomactors.core.roster import Roster
from roomactors.errors import DrainingError, NotAMemberError, RoomActorsError, TooLargeError
from roomactors.protocol.codec import (
    MAX_MEMBERS_PAGE,
    BroadcastRequest,
    JoinRequest,
    LeaveRequest,
    MembersRequest,
    PingRequest,
    Ref,
    Request,
    RequestError,
    UnsupportedRequest,
    decode,
)
from roomactors.protocol.codes import CloseCode, ErrorCode, answer_to
from roomactors.protocol.json_v1 import JsonEncoder, member_entry
from roomactors.server.frames import text_frame

if TYPE_CHECKING:
    from roomactors.server.connection import Connection

ENCODER = JsonEncoder(text_frame)
JOINED_BYTES = 32 * 1024
"""What the answer to a join counts until it is there: a full page of a roster without much info.
So about eight joins of one connection are under way at a time, whatever it does not read."""
UNREADABLE = {ErrorCode.BAD_JSON, ErrorCode.BAD_MESSAGE, ErrorCode.UNKNOWN_TYPE}
"""Errors of a client that does not speak the protocol, or plays with it."""


@final
class JsonDialogue:
    """Messages to commands, and answers to frames.

    Args:
      connection: the connection.
      resume: the secret of a session that the client wanted to resume.
    """

    encoder = ENCODER

    def __init__(self, connection: Connection, *, resume: str | None) -> None:
        self._connection = connection
        self._resume = resume
        # Rooms whose answer to a join is under way: who has not been answered
        # yet may already speak, and is refused by the room if need be.
        self._joining: dict[str, int] = {}
        self._quiet = _Acknowledge(self, None)

    def opened(self) -> None:
        """Say welcome."""
        connection = self._connection
        settings = connection.settings
        hub = connection.keeper.settings
        outlet = connection.outlet
        outlet.push(
            ENCODER.welcome(
                outlet.id,
                secrets.token_urlsafe(24),
                outlet.user,
                settings.heartbeat_seconds,
                {
                    "message_bytes": settings.max_message_bytes,
                    "rooms": hub.max_rooms_per_member,
                    "members": hub.room.max_members,
                    "info_bytes": hub.info_bytes,
                    "broadcasts_per_second": int(settings.broadcasts_per_second),
                },
            )
        )
        if self._resume is not None:
            self.refuse(ErrorCode.NOT_SUPPORTED, "sessions are not resumed here: join again")
            self._resume = None

    def binary(self, payload: bytes) -> None:
        """There are none in this protocol."""
        self._connection.close(CloseCode.UNSUPPORTED_DATA)

    def text(self, payload: bytes) -> None:
        """Do what a message asks."""
        try:
            request = decode(payload)
        except RequestError as error:
            self.refuse(error.code, error.message, error.ref, error.room)
            if error.code in UNREADABLE and self._connection.count_bad_message():
                self._connection.close(CloseCode.POLICY, "too many unreadable messages")
            return
        if self._connection.draining and not isinstance(request, PingRequest | LeaveRequest):
            self.fail(DrainingError(), request.ref, request.room)
            return
        self._do(request)

    def _do(self, request: Request) -> None:
        match request:
            case BroadcastRequest():
                self._broadcast(request)
            case JoinRequest():
                self._join(request)
            case LeaveRequest(room=room, ref=ref):
                if self._is_or_will_be_in(room):
                    self._leave(room, ref)
                else:
                    self.not_there(ref, room)
            case MembersRequest():
                self._list_members(request)
            case PingRequest(ref=ref):
                self._connection.outlet.push(ENCODER.pong(ref))
            case UnsupportedRequest():
                self.refuse(ErrorCode.NOT_SUPPORTED, request.message, request.ref, request.room)
            case _:
                assert_never(request)

    def _join(self, request: JoinRequest) -> None:
        outlet = self._connection.outlet
        limit = self._connection.keeper.settings.info_bytes
        if request.info is not None and len(request.info) > limit:
            error = TooLargeError("the info", len(request.info), limit)
            self.fail(error, request.ref, request.room)
            return
        command = Join(
            view=MemberView(member=outlet.id, user=outlet.user, info_payload=request.info),
            outlet=outlet,
            hidden=request.room == EVERYONE,
            again=True,
            keep_info=not request.has_info,
            ref=request.ref,
            answer=_JoinAnswer(self, request.ref, request.room),
        )
        self._joining[request.room] = self._joining.get(request.room, 0) + 1
        self._connection.promise(JOINED_BYTES)
        refusal = self._connection.send_to_room(request.room, command)
        if refusal is not None:
            self.join_answered(request.room)
            self.fail(refusal, request.ref, request.room)

    def _leave(self, room: str, ref: Ref | None) -> None:
        outlet = self._connection.outlet
        command = Leave(
            member=outlet.id,
            outlet=outlet,
            reason="left",
            ref=ref,
            answer=_LeaveAnswer(self, ref, room),
        )
        error = self._connection.send_to_room(room, command)
        if error is not None:
            self.fail(error, ref, room)

    def _broadcast(self, request: BroadcastRequest) -> None:
        connection = self._connection
        room = request.room
        if not self._is_or_will_be_in(room):
            self.fail(NotAMemberError(room), request.ref, room)
            return
        bucket = connection.bucket
        if bucket is not None and (wait := bucket.take(trio.current_time())):
            self.refuse(
                ErrorCode.RATE_LIMITED,
                "you broadcast more often than this server allows",
                request.ref,
                room,
                # Up, so that who waits so long is let through.
                retry_after=math.ceil(wait * 1000) / 1000,
            )
            excess = bucket.excess_seconds(trio.current_time())
            if excess >= connection.settings.excess_seconds:
                connection.close(CloseCode.RATE_LIMIT)
            return
        outlet = connection.outlet
        answer = self._quiet if request.ref is None else _Acknowledge(self, request.ref)
        command = Broadcast(
            data=request.data,
            sender=outlet.id,
            outlet=outlet,
            echo=request.echo,
            excluded=request.except_,
            volatile=request.volatile,
            answer=answer,
        )
        error = connection.send_to_room(room, command)
        if error is not None:
            self.fail(error, request.ref, room)

    def _list_members(self, request: MembersRequest) -> None:
        outlet = self._connection.outlet
        if not self._is_or_will_be_in(request.room):
            self.fail(NotAMemberError(request.room), request.ref, request.room)
            return
        command = ListMembers(sender=outlet.id, outlet=outlet, answer=_MembersAnswer(self, request))
        error = self._connection.send_to_room(request.room, command)
        if error is not None:
            self.fail(error, request.ref, request.room)

    def _is_or_will_be_in(self, room: str) -> bool:
        return room in self._connection.outlet.members or room in self._joining

    def join_answered(self, room: str) -> None:
        """One join less under way."""
        self._connection.promise(-JOINED_BYTES)
        under_way = self._joining[room] - 1
        if under_way:
            self._joining[room] = under_way
        else:
            del self._joining[room]

    # Answers

    def acknowledge(self, ref: Ref, receipt: Receipt) -> None:
        """A broadcast was applied."""
        epoch = None if receipt.seq is None else receipt.epoch
        self._connection.outlet.push(ENCODER.ack(ref, receipt.room, epoch, receipt.seq))

    def fail(self, error: RoomActorsError, ref: Ref | None, room: str | None) -> None:
        """A command was refused."""
        code, message = answer_to(error)
        self.refuse(code, message, ref, room)

    def refuse(
        self,
        code: ErrorCode,
        message: str,
        ref: Ref | None = None,
        room: str | None = None,
        *,
        retry_after: float | None = None,
    ) -> None:
        """Answer with an error."""
        self._connection.outlet.push(ENCODER.error(ref, room, code, message, retry_after))

    def not_there(self, ref: Ref | None, room: str) -> None:
        """Answer a leave of one who is not in."""
        self._connection.outlet.push(ENCODER.left(ref, room, None, "left"))

    def members_later(self, request: MembersRequest, present: Present) -> None:
        """Answer with a page of the roster, as it is when the answer can be sent."""
        log, roster = present.log, present.roster
        # Only the room of everyone has none, and to ask for that one's is forbidden.
        assert roster is not None

        def make() -> bytes:
            entries, following = _page(roster, request.after or 0, request.limit)
            return ENCODER.members(
                request.ref, request.room, log.epoch, log.head, entries, len(roster), following
            )

        self._connection.outlet.push_deferred(make)

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        """The reply to a join."""
        entries: list[bytes] | None = None
        following: int | None = None
        if joined.roster is not None:
            entries, following = _page(joined.roster, 0, MAX_MEMBERS_PAGE)
        return ENCODER.joined(
            _ref(ref),
            joined.log.room,
            joined.member.id,
            joined.log.epoch,
            joined.seq,
            entries,
            joined.count,
            following,
        )

    def left_frame(self, member: Member, ref: object) -> bytes:
        """The reply to a leave, or the news of it."""
        return ENCODER.left(_ref(ref), member.log.room, member.end, member.reason or "left")

    def seat_ended(self, member: Member) -> None:
        """The connection goes on in its other rooms."""

    def closing_frame(self, reason: str, reconnect_after: float) -> bytes:
        """The news that the server will close."""
        return ENCODER.closing(reason, reconnect_after)


def _page(roster: Roster, after: int, limit: int) -> tuple[list[bytes], int | None]:
    members, following = roster.page(after, limit)
    for member in members:
        if not member.card:
            view = member.view
            member.card = member_entry(view.member, view.user, view.info_payload)
    return [member.card for member in members], following


def _ref(ref: object) -> Ref | None:
    return ref if isinstance(ref, str | int) else None


class _Answer:
    """Where a room's answer goes; a lost connection's command is still done, in its order."""

    __slots__ = ("_dialogue", "_ref", "_room", "done")

    abandoned = False

    def __init__(self, dialogue: JsonDialogue, ref: Ref | None, room: str | None) -> None:
        self._dialogue = dialogue
        self._ref = ref
        self._room = room
        self.done = False

    def fail(self, error: RoomActorsError) -> None:
        self.done = True
        self._dialogue.fail(error, self._ref, self._room or getattr(error, "room", None))


@final
class _Acknowledge(_Answer):
    """For a broadcast; one without `ref` is used again and again, and only speaks of errors."""

    __slots__ = ()

    def __init__(self, dialogue: JsonDialogue, ref: Ref | None) -> None:
        super().__init__(dialogue, ref, None)

    def set(self, value: Receipt) -> None:
        if self._ref is not None:
            self._dialogue.acknowledge(self._ref, value)


@final
class _JoinAnswer(_Answer):
    """For a join: the outlet has answered with `joined` already."""

    __slots__ = ()

    def set(self, value: Joined) -> None:
        self.done = True
        self._dialogue.join_answered(value.log.room)

    def fail(self, error: RoomActorsError) -> None:
        assert self._room is not None
        self._dialogue.join_answered(self._room)
        super().fail(error)


@final
class _LeaveAnswer(_Answer):
    """For a leave: if there was a seat, the outlet has answered with `left` already."""

    __slots__ = ()

    def set(self, value: bool) -> None:
        self.done = True
        if not value:
            assert self._room is not None
            self._dialogue.not_there(self._ref, self._room)


@final
class _MembersAnswer(_Answer):
    """For `members`."""

    __slots__ = ("_request",)

    def __init__(self, dialogue: JsonDialogue, request: MembersRequest) -> None:
        super().__init__(dialogue, request.ref, request.room)
        self._request = request

    def set(self, value: Present) -> None:
        self.done = True
        self._dialogue.members_later(self._request, value)
