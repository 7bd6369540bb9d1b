"""The frames of the plain JSON protocol, version 1: one struct per frame of `wire.md`.

`JsonEncoder` makes of each a WebSocket text frame, through the function that it
is given for that. Events are made once for all members; the server's own
replies are made per connection. What stands as `None` with a default is absent
from the text, what stands as `None` without one is null, and what is `Raw` is
JSON already and copied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, TypeAlias, assert_never, final

import msgspec
from msgspec import Raw

from roomactors.core.data import Data
from roomactors.core.events import Gap, LogEvent, MemberInfo, MemberJoined, MemberLeft, Message
from roomactors.core.ports import Encoder
from roomactors.protocol.codec import Ref
from roomactors.protocol.codes import ErrorCode

LONGEST_RUN_OF_SINGLES: Final = 16
"""Membership events with no message between; a longer run is one `presence` (`wire.md`)."""

Frame: TypeAlias = Callable[[bytes], bytes]
"""Makes one whole WebSocket frame of a payload."""

_encode = msgspec.json.Encoder().encode


class _Frame(msgspec.Struct, gc=False, omit_defaults=True, tag_field="type"):
    """What all frames have in common; a template filled in by C is 200 ns a frame."""


class _Welcome(_Frame, kw_only=True, tag="welcome"):
    member: str
    session: str
    user: str | None
    resumed: bool
    heartbeat: float
    limits: dict[str, int]


class _Joined(_Frame, kw_only=True, tag="joined"):
    ref: Ref | None = None
    room: str
    member: str
    epoch: str
    seq: int
    members: Raw | None = None
    count: int
    members_next: str | None = None
    policy: str


class _Left(_Frame, kw_only=True, tag="left"):
    ref: Ref | None = None
    room: str
    seq: int | None = None
    reason: str


class _Message(_Frame, kw_only=True, tag="message", rename={"sender": "from"}):
    room: str
    seq: int | None = None
    sender: str | None
    user: str | None = None
    at: int
    data: Raw


class _MemberJoined(_Frame, kw_only=True, tag="member_joined"):
    room: str
    seq: int
    member: str
    user: str | None = None
    info: Raw | None = None


class _MemberLeft(_Frame, kw_only=True, tag="member_left"):
    room: str
    seq: int
    member: str
    user: str | None = None
    reason: str


class _MemberInfo(_Frame, kw_only=True, tag="member_info"):
    room: str
    seq: int
    member: str
    info: Raw | None


class _Entry(msgspec.Struct, gc=False):
    member: str
    user: str | None
    info: Raw | None


class _Gone(msgspec.Struct, gc=False):
    member: str
    reason: str


class _Presence(_Frame, kw_only=True, tag="presence", rename={"first": "from"}):
    room: str
    first: int
    seq: int
    joined: list[_Entry]
    left: list[_Gone]
    count: int


class _Gap(_Frame, kw_only=True, tag="gap", rename={"first": "from", "last": "to"}):
    room: str
    epoch: str
    first: int
    last: int
    reason: str
    roster: bool = False


class _Ack(_Frame, kw_only=True, tag="ack"):
    ref: Ref
    room: str
    epoch: str | None = None
    seq: int | None = None


class _Members(_Frame, kw_only=True, tag="members"):
    ref: Ref
    room: str
    epoch: str
    seq: int
    members: Raw
    count: int
    members_next: str | None = None


class _Error(_Frame, kw_only=True, tag="error"):
    ref: Ref | None = None
    room: str | None = None
    code: str
    message: str
    retry_after: float | None = None


class _Closing(_Frame, kw_only=True, tag="closing"):
    reason: str
    reconnect_after: float


class _Pong(_Frame, kw_only=True, tag="pong"):
    ref: Ref | None = None


def member_entry(member: str, user: str | None, info: Data | None) -> bytes:
    """One entry of a roster as JSON, to be kept and handed to `joined` and `members`."""
    return _encode(_Entry(member, user, _raw(info)))


@final
class JsonEncoder(Encoder):
    """All that a server says to a client of the plain JSON protocol.

    Args:
      text: makes a WebSocket text frame of a payload.
    """

    def __init__(self, text: Frame) -> None:
        self._text = text

    # Events: once for all members.

    def event(self, event: LogEvent) -> bytes:
        """One event as one text frame."""
        match event:
            case Message():
                return self._frame(
                    _Message(
                        room=event.room,
                        seq=event.seq,
                        sender=event.sender,
                        user=event.user,
                        at=event.at,
                        data=Raw(event.payload),
                    )
                )
            case MemberJoined():
                return self._frame(
                    _MemberJoined(
                        room=event.room,
                        seq=event.seq,
                        member=event.member,
                        user=event.user,
                        info=_raw(event.info_payload),
                    )
                )
            case MemberLeft():
                return self._frame(
                    _MemberLeft(
                        room=event.room,
                        seq=event.seq,
                        member=event.member,
                        user=event.user,
                        reason=event.reason,
                    )
                )
            case MemberInfo():
                return self._frame(
                    _MemberInfo(
                        room=event.room,
                        seq=event.seq,
                        member=event.member,
                        info=_raw(event.info_payload),
                    )
                )
            case _:
                assert_never(event)

    def presence(
        self, run: Sequence[MemberJoined | MemberLeft | MemberInfo], count: int
    ) -> bytes | None:
        """A run of more than 16 membership events as one `presence`, else None.

        Who came and went within the run is left out. Who was there before, left
        and came again is in both lists: a reader takes `left` first. Who came has
        the latest info. None also if somebody who stayed all along got a new
        info, for which the frame has no word.
        """
        if len(run) <= LONGEST_RUN_OF_SINGLES:
            return None
        seen: set[str] = set()
        there_before: set[str] = set()
        joined: dict[str, _Entry] = {}
        left: dict[str, _Gone] = {}
        renewed: set[str] = set()
        for event in run:
            member = event.member
            if member not in seen:
                seen.add(member)
                if not isinstance(event, MemberJoined):
                    there_before.add(member)
            if isinstance(event, MemberJoined):
                joined[member] = _Entry(member, event.user, _raw(event.info_payload))
            elif isinstance(event, MemberLeft):
                joined.pop(member, None)
                renewed.discard(member)
                if member in there_before:
                    left[member] = _Gone(member, event.reason)
            elif member in joined:
                user = joined[member].user
                joined[member] = _Entry(member, user, _raw(event.info_payload))
            else:
                renewed.add(member)
        if renewed:
            return None
        return self._frame(
            _Presence(
                room=run[0].room,
                first=run[0].seq,
                seq=run[-1].seq,
                joined=list(joined.values()),
                left=list(left.values()),
                count=count,
            )
        )

    def gap(self, gap: Gap) -> bytes:
        """The range of a room's events that one member does not get."""
        return self._frame(
            _Gap(
                room=gap.room,
                epoch=gap.epoch,
                first=gap.first,
                last=gap.last,
                reason=gap.reason,
                roster=gap.roster,
            )
        )

    # Replies: for one connection.

    def welcome(
        self,
        member: str,
        session: str,
        user: str | None,
        heartbeat: float,
        limits: Mapping[str, int],
    ) -> bytes:
        """The first frame.

        Args:
          member: the public id that others see.
          session: the secret of a later resumption.
          user: who the server knows this to be; None if nobody.
          heartbeat: seconds of silence after which the server pings.
          limits: each limit by its name in `wire.md`.
        """
        return self._frame(
            _Welcome(
                member=member,
                session=session,
                user=user,
                resumed=False,
                heartbeat=heartbeat,
                limits=dict(limits),
            )
        )

    def joined(
        self,
        ref: Ref | None,
        room: str,
        member: str,
        epoch: str,
        seq: int,
        members: Iterable[bytes] | None,
        count: int,
        members_next: int | None,
        policy: str = "gap",
    ) -> bytes:
        """The reply to `join`.

        Args:
          ref: what the client gave; None if nothing.
          room: the room's name.
          member: the client's own id.
          epoch: the room's epoch.
          seq: of the last event before this join's own; the roster is as of it.
          members: the first page of the roster, each made by `member_entry`;
            None where the room's presence is off.
          count: all members of the room.
          members_next: where the next page begins; None if there is none.
          policy: what the room does with who falls behind.
        """
        return self._frame(
            _Joined(
                ref=ref,
                room=room,
                member=member,
                epoch=epoch,
                seq=seq,
                members=None if members is None else _list(members),
                count=count,
                members_next=_place(members_next),
                policy=policy,
            )
        )

    def left(self, ref: Ref | None, room: str, seq: int | None, reason: str) -> bytes:
        """The end of a seat; `seq` is the last event that it was served, None if it had none."""
        return self._frame(_Left(ref=ref, room=room, seq=seq, reason=reason))

    def ack(self, ref: Ref, room: str, epoch: str | None, seq: int | None) -> bytes:
        """A broadcast was applied; without `epoch` and `seq` if it was volatile."""
        return self._frame(_Ack(ref=ref, room=room, epoch=epoch, seq=seq))

    def members(
        self,
        ref: Ref,
        room: str,
        epoch: str,
        seq: int,
        members: Iterable[bytes],
        count: int,
        members_next: int | None,
    ) -> bytes:
        """One page of a roster, as of `seq`; the arguments are those of `joined`."""
        return self._frame(
            _Members(
                ref=ref,
                room=room,
                epoch=epoch,
                seq=seq,
                members=_list(members),
                count=count,
                members_next=_place(members_next),
            )
        )

    def error(
        self,
        ref: Ref | None,
        room: str | None,
        code: ErrorCode,
        message: str,
        retry_after: float | None = None,
    ) -> bytes:
        """A request was refused, and nothing changed.

        Args:
          ref: the request's; None if it had none, or none that could be read.
          room: the room that it was about, if any.
          code: for a program.
          message: one sentence for a person.
          retry_after: seconds after which another try makes sense.
        """
        return self._frame(
            _Error(ref=ref, room=room, code=code, message=message, retry_after=retry_after)
        )

    def closing(self, reason: str, reconnect_after: float) -> bytes:
        """The connection will be closed; `reconnect_after` is in seconds, with its jitter."""
        return self._frame(_Closing(reason=reason, reconnect_after=reconnect_after))

    def pong(self, ref: Ref | None) -> bytes:
        """The reply to the protocol's own `ping`, not to that of a WebSocket."""
        return self._frame(_Pong(ref=ref))

    def _frame(self, frame: _Frame) -> bytes:
        return self._text(_encode(frame))


def _raw(data: Data | None) -> Raw | None:
    return None if data is None else Raw(data)


def _list(entries: Iterable[bytes]) -> Raw:
    return Raw(b"[%b]" % b",".join(entries))


def _place(members_next: int | None) -> str | None:
    # A string, so that no client does arithmetic with it.
    return None if members_next is None else str(members_next)
