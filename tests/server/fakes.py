"""What the server's unit tests put in place of sockets, drivers and protocols.

All of it does what the real thing does, in few lines; nothing here knows what
a test expects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import final

import trio

from roomactors.core.commands import Joined
from roomactors.core.hub import Hub
from roomactors.core.member import Member
from roomactors.core.ports import Encoder
from roomactors.protocol.json_v1 import JsonEncoder
from roomactors.server.config import ServerSettings
from roomactors.server.connection import Connection, Dialogue
from roomactors.server.frames import text_frame
from roomactors.server.links import Link
from tests.server.test_frames import TEXT, client_frame

ENCODER = JsonEncoder(text_frame)


@final
class Window:
    """A socket's non-blocking write: what it takes, and what it has got."""

    def __init__(self) -> None:
        self.wire = bytearray()
        self.takes: deque[int] = deque()
        """The most bytes for each of the next writes; 0 makes one fail with BlockingIOError."""
        self.then: int | None = None
        """The most for each write after those; None: everything."""
        self.error: Exception | None = None
        """What each write raises."""
        self.writes = 0

    def send(self, data: bytes) -> int:
        self.writes += 1
        if self.error is not None:
            raise self.error
        most = self.takes.popleft() if self.takes else self.then
        count = len(data) if most is None else min(most, len(data))
        if not count:
            raise BlockingIOError
        self.wire += data[:count]
        return count


@final
class FakeLink(Link):
    """A link that nobody reads; what is done to it is written down."""

    def __init__(self, *, writes_at_once: bool = True) -> None:
        self.window = Window()
        super().__init__(
            remote="192.0.2.1", secure=False, send=self.window.send if writes_at_once else None
        )
        self.done: list[str] = []

    async def receive(self, max_bytes: int) -> bytes:
        await trio.sleep_forever()
        raise AssertionError

    async def wait_writable(self) -> None:
        await trio.sleep_forever()

    def send_eof(self) -> None:
        self.done.append("eof")

    def abort(self, *, reset: bool = False) -> None:
        if not {"abort", "reset"} & set(self.done):
            self.done.append("reset" if reset else "abort")


@final
class FakeDriver:
    """A driver that only writes down what it is asked."""

    def __init__(self) -> None:
        self.writers = 0
        self.resumed = 0
        self.ends = 0
        self.due: list[float] = []

    def start_writer(self, connection: Connection) -> None:
        self.writers += 1

    def resume(self, connection: Connection) -> None:
        self.resumed += 1

    def watch(self, connection: Connection, due: float) -> None:
        self.due.append(due)

    def ended(self, connection: Connection) -> None:
        self.ends += 1


@final
class Script:
    """A protocol in which the test says what a message does.

    Args:
      acts: by the message; one that is not among them is only written down.
    """

    def __init__(
        self, connection: Connection, acts: dict[bytes, Callable[[Connection], object]]
    ) -> None:
        self._connection = connection
        self._acts = acts
        self.heard: list[bytes] = []

    @property
    def encoder(self) -> Encoder:
        return ENCODER

    def opened(self) -> None:
        self._connection.outlet.push(text_frame(b"welcome"))

    def text(self, payload: bytes) -> None:
        self.heard.append(payload)
        if payload in self._acts:
            self._acts[payload](self._connection)

    def binary(self, payload: bytes) -> None:
        self.text(payload)

    def joined_frame(self, joined: Joined, ref: object) -> bytes:
        return text_frame(b"joined")

    def left_frame(self, member: Member, ref: object) -> bytes:
        return text_frame(b"left")

    def seat_ended(self, member: Member) -> None:
        self.heard.append(b"(seat ended)")

    def closing_frame(self, reason: str, reconnect_after: float) -> bytes:
        return b""


Acts = dict[bytes, Callable[[Connection], object]]


def scripted(acts: Acts | None = None) -> tuple[list[Script], Callable[[Connection], Dialogue]]:
    """A dialogue for `Connection`, and where to find it once it has been made."""
    made: list[Script] = []

    def make(connection: Connection) -> Dialogue:
        script = Script(connection, acts or {})
        made.append(script)
        return script

    return made, make


def connect(
    hub: Hub,
    link: Link,
    driver: FakeDriver,
    dialogue: Callable[[Connection], Dialogue],
    *,
    member: str = "m_ada",
    settings: ServerSettings | None = None,
) -> Connection:
    """A connection that the hub knows, not yet opened."""
    connection = Connection(
        member,
        None,
        link=link,
        keeper=hub.keeper,
        settings=settings or ServerSettings(),
        driver=driver,
        dialogue=dialogue,
    )
    hub.keeper.connect(connection.outlet)
    return connection


def texts(*payloads: bytes) -> bytes:
    """Text messages as a client sends them, in one piece."""
    return b"".join(client_frame(TEXT, payload) for payload in payloads)
