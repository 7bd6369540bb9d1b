"""The way of a message into a room: numbered, and no further ahead than those who keep up can be.

It knows connections only to see how far they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Final, final
from weakref import WeakValueDictionary

import trio

from roomactors.core.commands import Broadcast, Receipt
from roomactors.core.events import EVERYONE
from roomactors.core.keeper import Keeper
from roomactors.core.member import Member
from roomactors.core.reply import Reply
from roomactors.errors import TooLargeError
from roomactors.manager.connection import Connection, Numbered
from roomactors.protocol.json_data import freeze
from roomactors.protocol.raw import binary_to_data

_PASSES: Final = 32
"""Passes of trio's loop: a send over loopback takes 2, so who has sent nothing in so many waits
for its peer and not for its turn on the processor."""

_numbers = count(1)


def to_data(message: str | bytes, limit: int) -> Numbered:
    """A message as a room keeps it.

    Args:
      message: a str is sent as text, bytes are sent as binary.
      limit: bytes that it may take as JSON.

    Raises:
      TypeError: it is neither str nor bytes.
      InvalidDataError: the text has half of a surrogate pair.
      TooLargeError: it takes more.
    """
    match message:
        case str():
            data = Numbered(freeze(message, max_bytes=0))
        case bytes():
            data = Numbered(binary_to_data(message))
        case _:
            raise TypeError(
                f"a message is a str or bytes, not a {type(message).__name__}; "
                "encode it first, for instance with json.dumps"
            )
    if len(data) > limit:
        raise TooLargeError("the message", len(data), limit)
    return data


def connections_in(keeper: Keeper, name: str) -> Iterator[tuple[Connection, Member]]:
    """The connections in a room, with their seats there; none if there is no such room."""
    if name == EVERYONE:
        for outlet in keeper.outlets.values():
            if isinstance(outlet, Connection) and EVERYONE in outlet.members:
                yield outlet, outlet.members[EVERYONE]
    elif name in keeper.rooms:
        for member in keeper.rooms[name].roster:
            if isinstance(member.outlet, Connection):
                yield member.outlet, member


@final
class Publisher:
    """Broadcasts one message after the other to each room."""

    def __init__(self) -> None:
        # A gate is there as long as somebody is at it.
        self._gates = WeakValueDictionary[str, trio.Lock]()

    async def publish(
        self, keeper: Keeper, name: str, data: Numbered, excluded: frozenset[str]
    ) -> None:
        """Have a room take a message, when those who keep up have had their share of the loop.

        A checkpoint. If you are cancelled before the room's turn, it is not sent.
        """

        def number(_receipt: Receipt) -> None:
            data.number = next(_numbers)

        reply = Reply[Receipt, None](number)
        command = Broadcast(data=data, excluded=excluded, answer=reply)
        # One at a time in each room, so that all publishers together are not
        # further ahead than one would be.
        async with self._gates.setdefault(name, trio.Lock()):
            await _wait_for_those_who_keep_up(keeper, name)
            await keeper.ask(name, command, reply)


async def _wait_for_those_who_keep_up(keeper: Keeper, name: str) -> None:
    """Let the writers run, if one is behind and gets on.

    A publisher needs fewer passes of the loop for a message than a writer. Without this one that
    never rests would be ahead of every connection by more than the log holds, although no peer is
    slow. A checkpoint only if it waits.
    """
    while True:
        behind = {
            connection: connection.sent
            for connection, member in connections_in(keeper, name)
            if connection.is_waited_for(member)
        }
        if not behind:
            return
        for _ in range(_PASSES):
            await trio.lowlevel.checkpoint()
        for connection, sent in behind.items():
            connection.stalled = connection.sent == sent
