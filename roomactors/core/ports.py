"""What the core asks of the outside; the outer layers fulfil it.

Durable rooms will ask for a journal here, and rooms that span processes for a
broker: both stand between the two halves of a turn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from roomactors.core.events import Gap, LogEvent, MemberInfo, MemberJoined, MemberLeft


class Encoder(ABC):
    """Events turned into ready frames of one wire protocol.

    One encoder serves all connections that speak its protocol: what it makes
    is written to each of them unchanged, and is kept beside the event.
    Encoding cannot fail, since all data was checked where it entered.
    """

    @abstractmethod
    def event(self, event: LogEvent) -> bytes:
        """One event as one or more whole frames; empty if the protocol has no word for it."""

    @abstractmethod
    def presence(
        self, run: Sequence[MemberJoined | MemberLeft | MemberInfo], count: int
    ) -> bytes | None:
        """A run of membership events as one frame; None to have them sent one by one.

        Args:
          run: consecutive membership events, oldest first.
          count: the members of the room after the last of them.
        """

    @abstractmethod
    def gap(self, gap: Gap) -> bytes | None:
        """A gap as a frame; None if the protocol has no word for it: the connection must end."""
