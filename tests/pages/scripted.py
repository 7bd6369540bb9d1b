"""A server that serves the page, and says on its WebSocket only what a test tells it to."""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Iterator
from typing import Any, Final, final

from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.typing import Subprotocol

from roomactors.server.head import parse_head
from roomactors.server.web import answer

_ENOUGH: Final = 20.0  # seconds

ME: Final = "m_me"


@final
class Peer:
    """The server's end of one connection."""

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection
        self.done = threading.Event()

    def tell(self, kind: str, **fields: object) -> None:
        """Send one frame."""
        self._connection.send(json.dumps({"type": kind, **fields}))

    def hear(self, kind: str) -> dict[str, Any]:
        """Take the next frame, which must be of this kind."""
        frame: dict[str, Any] = json.loads(self._connection.recv(_ENOUGH))
        assert frame["type"] == kind, frame
        return frame

    def close(self, code: int) -> None:
        """Close the connection."""
        self._connection.close(code)
        self.done.set()

    def welcome(self, seq: int, *others: str, **more: object) -> None:
        """Let the page in; the room has `seq` events so far and these people."""
        self.tell(
            "welcome",
            member=ME,
            session="s",
            user=None,
            resumed=False,
            heartbeat=25.0,
            limits={"message_bytes": 1000},
        )
        self.tell("joined", room="$all", member=ME, epoch="a", seq=89, count=1, policy="gap")
        asked = self.hear("join")
        members = [entry(ME, asked["info"]["name"]), *(entry(f"m_{n}", n) for n in others)]
        whole: dict[str, object] = {
            "members": members,
            "count": len(members),
            "epoch": "e",
            "policy": "gap",
            **more,
        }
        self.tell("joined", ref=asked["ref"], room=asked["room"], member=ME, seq=seq, **whole)


def entry(member: str, name: str) -> dict[str, object]:
    """One entry of a roster."""
    return {"member": member, "user": None, "info": {"name": name}}


@final
class Scripted:
    """The server: each connection waits for the test to take it."""

    def __init__(self, server: Server, peers: queue.Queue[Peer]) -> None:
        self.url = f"http://127.0.0.1:{server.socket.getsockname()[1]}/"
        self._peers = peers

    def accept(self) -> Peer:
        """Take the next connection."""
        return self._peers.get(timeout=_ENOUGH)


@contextlib.contextmanager
def open_scripted() -> Iterator[Scripted]:
    """Serve on a free port for the length of the block."""
    peers: queue.Queue[Peer] = queue.Queue()
    taken: list[Peer] = []

    def handle(connection: ServerConnection) -> None:
        peer = Peer(connection)
        taken.append(peer)
        peers.put(peer)
        with contextlib.suppress(ConnectionClosed):
            peer.done.wait()

    def page(_: ServerConnection, request: Request) -> Response | None:
        if request.path == "/ws":
            return None
        asked = f"GET {request.path} HTTP/1.1\r\nHost: test\r\n\r\n".encode()
        whole = answer(parse_head(asked, remote="", secure=False), ready=True)
        head, body = whole.split(b"\r\n\r\n", 1)
        status, *lines = head.decode().split("\r\n")
        headers = Headers()
        for line in lines:
            name, value = line.split(": ", 1)
            headers[name] = value
        code, reason = status.split(" ", 2)[1:]
        return Response(int(code), reason, headers, body)

    spoken = [Subprotocol("roomactors.v1.json")]
    with serve(handle, "127.0.0.1", 0, process_request=page, subprotocols=spoken) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Scripted(server, peers)
        finally:
            for peer in taken:
                peer.done.set()
            server.shutdown()
            thread.join()
