"""What a room's log holds, and what its members hear: frozen values.

All members get the same object; nothing here is made per member. `data` and
`info` are read from the frozen bytes at each access, so that what one member
does to the value it got is seen by nobody else.
"""

from __future__ import annotations

from typing import Literal, final

import attrs

from roomactors.core.data import Data

LeftReason = Literal["left", "disconnected", "kicked", "lagged", "closed"]
"""Why a member is gone, as the others are told."""

EVERYONE = "$all"
"""The room in which every connection and every member has a hidden seat."""

NOBODY: frozenset[str] = frozenset()


@final
@attrs.frozen(kw_only=True)
class Message:
    """What somebody broadcast."""

    room: str
    seq: int | None
    """Its place in the room's log; None if it was volatile, and so in no log."""
    sender: str | None
    """The member id of the one who sent it; None for the server."""
    user: str | None = None
    """The user behind the sender, where the server knows one."""
    at: int
    """Milliseconds since the Unix epoch, by the server's clock."""
    payload: Data
    excluded: frozenset[str] = NOBODY
    """The member ids that do not get it."""

    @property
    def data(self) -> object:
        """The value that was broadcast, fresh at each access."""
        return self.payload.value()

    @property
    def data_size(self) -> int:
        """Bytes of the data it carries."""
        return len(self.payload)


@final
@attrs.frozen(kw_only=True)
class MemberJoined:
    """Somebody came. The one who came is not told so by this."""

    room: str
    seq: int
    member: str
    user: str | None = None
    info_payload: Data | None = None

    @property
    def info(self) -> object:
        """What the member says of itself, fresh at each access; None if nothing."""
        return None if self.info_payload is None else self.info_payload.value()

    @property
    def excluded(self) -> frozenset[str]:
        """The one it is about."""
        return frozenset((self.member,))

    @property
    def data_size(self) -> int:
        """Bytes of the data it carries."""
        return 0 if self.info_payload is None else len(self.info_payload)


@final
@attrs.frozen(kw_only=True)
class MemberLeft:
    """Somebody is gone. The one who went is not told so by this."""

    room: str
    seq: int
    member: str
    user: str | None = None
    reason: LeftReason

    @property
    def excluded(self) -> frozenset[str]:
        """The one it is about."""
        return frozenset((self.member,))

    @property
    def data_size(self) -> int:
        """Bytes of the data it carries: none."""
        return 0


@final
@attrs.frozen(kw_only=True)
class MemberInfo:
    """Somebody's public info was replaced, by a second join that gave another."""

    room: str
    seq: int
    member: str
    info_payload: Data | None

    @property
    def info(self) -> object:
        """The new info, fresh at each access."""
        return None if self.info_payload is None else self.info_payload.value()

    @property
    def excluded(self) -> frozenset[str]:
        """The one it is about."""
        return frozenset((self.member,))

    @property
    def data_size(self) -> int:
        """Bytes of the data it carries."""
        return 0 if self.info_payload is None else len(self.info_payload)


@final
@attrs.frozen(kw_only=True)
class Gap:
    """A range of the log that this member will not get: it fell out while the member was slow."""

    room: str
    epoch: str
    first: int
    """The first `seq` that is lost to this member."""
    last: int
    """The last one; what comes next is greater."""
    reason: Literal["lagged"] = "lagged"
    roster: bool = False
    """Whether membership changes were, or may have been, among them: ask for the members."""

    @property
    def seq(self) -> int:
        """The highest `seq` that this accounts for."""
        return self.last


LogEvent = Message | MemberJoined | MemberLeft | MemberInfo
Event = LogEvent | Gap
