"""Talk in a room from a terminal: `roomactors join`."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio

from roomactors.protocol.codes import CloseCode
from roomactors.server.admission import JSON_PATH
from roomactors.server.handshake import Connection, ConnectionClosed, open_websocket

ABNORMAL_CLOSURE = 1006
"""What a client says to itself of a connection that ended without a close frame."""
FAILED = 1
"""Exit status when the server ended it."""


async def talk(url: str, room: str, *, name: str, token: str | None) -> int:
    """Join a room: lines from stdin are broadcast, what the others say goes to stdout.

    Args:
      url: of the WebSocket, as `websocket_url` makes it.
      room: the room's name.
      name: what the others see.
      token: sent as a bearer token.

    Returns:
      0 at the end of stdin; 1 if the server ended the connection or refused the room.

    Raises:
      CannotConnectError: there is no such server, or it said no.
    """
    headers = [] if token is None else [("Authorization", f"Bearer {token}")]
    async with open_websocket(url, headers=headers) as connection:
        terminal = _Terminal(connection, room, name)
        return await terminal.run()


def websocket_url(url: str) -> str:
    """What a person wrote, as the URL to connect to.

    Args:
      url: of a server, with or without scheme and path; http means ws.

    Raises:
      ValueError: it is not the URL of a server; the message says why.
    """
    parts = urlsplit(url if "://" in url else f"ws://{url}")
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in {"ws", "wss"}:
        raise ValueError("it begins with ws:// or wss://")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.port == 0:
        raise ValueError("its port is 0")
    return parts._replace(scheme=scheme, path=parts.path.rstrip("/") or JSON_PATH).geturl()


class _Terminal:
    """One person at a terminal, in one room."""

    def __init__(self, connection: Connection, room: str, name: str) -> None:
        self._connection = connection
        self._room = room
        self._name = name
        self._names: dict[str, str] = {}
        self._me = ""
        self._status = 0
        self._unacknowledged = 0
        self._all_acknowledged = trio.Event()
        self._typed_all = False

    async def run(self) -> int:
        await self._say(type="join", room=self._room, info={"name": self._name}, ref="join")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._listen, nursery.cancel_scope)
        return self._status

    async def _listen(self, scope: trio.CancelScope) -> None:
        try:
            async with trio.open_nursery() as nursery:
                while True:
                    text = await self._connection.get_message()
                    frame = msgspec.json.decode(text)
                    self._show(frame)
                    if frame["type"] == "joined" and frame.get("ref") == "join":
                        nursery.start_soon(self._type, scope)
                    if frame["type"] == "error" and frame.get("ref") == "join":
                        self._end(scope)
        except* ConnectionClosed:
            end = self._connection.closed
            why = _explain(end.code if end else None, end.reason if end else None)
            print(f"* the server ended the connection: {why}", file=sys.stderr)
            self._end(scope)

    def _end(self, scope: trio.CancelScope) -> None:
        self._status = FAILED
        scope.cancel()

    async def _type(self, scope: trio.CancelScope) -> None:
        async for line in _lines():
            if line:
                self._unacknowledged += 1
                await self._say(
                    type="broadcast", room=self._room, data=line, ref="said", echo=False
                )
        self._typed_all = True
        if self._unacknowledged:
            with trio.move_on_after(5):
                await self._all_acknowledged.wait()
        scope.cancel()

    async def _say(self, **fields: object) -> None:
        await self._connection.send_message(msgspec.json.encode(fields).decode())

    def _show(self, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "joined":
                self._me = frame["member"]
                for entry in frame.get("members", ()):
                    self._learn(entry)
                names = ", ".join(map(self._name_of, self._names))
                print(f"* in {self._room!r} with {frame['count']}: {names}", flush=True)
            case "message":
                who = self._name_of(frame["from"]) if frame["from"] else "the server"
                print(f"{who}: {_text(frame['data'])}", flush=True)
            case "member_joined":
                self._learn(frame)
                print(f"* {self._name_of(frame['member'])} came", flush=True)
            case "member_left":
                print(f"* {self._name_of(frame['member'])} left ({frame['reason']})", flush=True)
                self._names.pop(frame["member"], None)
            case "presence":
                for entry in frame["left"]:
                    self._names.pop(entry["member"], None)
                for entry in frame["joined"]:
                    self._learn(entry)
                print(f"* {frame['count']} are here now", flush=True)
            case "member_info":
                self._learn(frame)
            case "gap":
                print(f"* {frame['to'] - frame['from'] + 1} events were missed", flush=True)
            case "error":
                if frame.get("ref") == "said":
                    self._one_acknowledged()
                print(f"* {frame['message']}", file=sys.stderr, flush=True)
            case "ack":
                self._one_acknowledged()
            case "closing":
                print("* the server is stopping", file=sys.stderr, flush=True)
            case "left":
                print(f"* you are out of the room ({frame['reason']})", file=sys.stderr, flush=True)

    def _one_acknowledged(self) -> None:
        self._unacknowledged -= 1
        if self._typed_all and not self._unacknowledged:
            self._all_acknowledged.set()

    def _learn(self, entry: dict[str, Any]) -> None:
        info = entry.get("info")
        name = info.get("name") if isinstance(info, dict) else None
        self._names[entry["member"]] = name if isinstance(name, str) and name else entry["member"]

    def _name_of(self, member: str) -> str:
        return _printable(self._names.get(member, member))


def _text(data: object) -> str:
    """A message for a terminal: text as it is, everything else as JSON."""
    text = data if isinstance(data, str) else msgspec.json.encode(data).decode()
    return _printable(text)


def _printable(text: str) -> str:
    # What somebody else wrote must not move the cursor or change colours.
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _explain(code: int | None, reason: str | None) -> str:
    if code in {None, ABNORMAL_CLOSURE}:
        return "it went away"
    try:
        meaning = CloseCode(code).meaning
    except ValueError:
        meaning = "closed"
    more = f": {reason}" if reason and reason != meaning else ""
    return f"{meaning} ({code}{more})"


async def _lines() -> AsyncIterator[str]:
    """Lines from stdin, read in a thread, which is left behind if the wait is cancelled."""
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        yield line.rstrip("\r\n")
