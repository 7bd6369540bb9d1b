"""The two servers that ours is compared with, each a process: `bare` and `naive`.

Both have the contract of `/raw/{room}`: connecting joins the room, and each text frame goes to all
of its members, the sender included. Both print one line with their URL when they accept
connections. They are what they are for comparison, and no pattern to follow: neither has a
deadline, a limit, or anything else that a server on the internet needs.
"""

import base64
import hashlib
import socket
import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Final, final

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def _announce(port: int) -> None:
    sys.stdout.write(f"http://127.0.0.1:{port}/\n")
    sys.stdout.flush()


# -- naive: the connection manager of the tutorials ------------------------------------------------


@final
class NaiveManager:
    """A dict of sets; a broadcast awaits one `send_message` after the other."""

    def __init__(self) -> None:
        self._rooms: defaultdict[str, set[WebSocketConnection]] = defaultdict(set)

    async def broadcast(self, room: str, message: str | bytes) -> None:
        """Send to each member; one that is gone is passed over."""
        # A copy, or a join during the loop would raise and end the comparison.
        for member in list(self._rooms[room]):
            try:
                await member.send_message(message)
            except ConnectionClosed:
                self._rooms[room].discard(member)

    async def handle(self, request: WebSocketRequest) -> None:
        """Serve one connection."""
        try:
            connection = await request.accept()
            room = request.path
            self._rooms[room].add(connection)
            try:
                while True:
                    await self.broadcast(room, await connection.get_message())
            finally:
                self._rooms[room].discard(connection)
        except Exception as error:  # noqa: BLE001  # out of here it would end the whole server
            if not isinstance(error, ConnectionClosed):
                sys.stderr.write(f"naive: {error!r}\n")


async def serve_naive() -> None:
    """Run the naive server until cancelled."""
    manager = NaiveManager()
    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, manager.handle, "127.0.0.1", 0, None)
        _announce(server.port)


# -- bare: the least that a loop over sockets can do -----------------------------------------------


@final
class BareMember:
    """A socket, and what it did not take at once."""

    def __init__(self, sock: socket.socket, nursery: trio.Nursery) -> None:
        self._sock = sock
        self._nursery = nursery
        self.behind = bytearray()

    def write_behind(self, frame: bytes) -> None:
        """Keep what the socket did not take, and a task that writes it when it can."""
        if not self.behind:
            self._nursery.start_soon(self._catch_up)
        self.behind += frame

    async def _catch_up(self) -> None:
        while self.behind:
            try:
                await trio.lowlevel.wait_writable(self._sock)
                del self.behind[: self._sock.send(self.behind)]
            except BlockingIOError:
                continue
            except (OSError, trio.ClosedResourceError):
                return


BareRoom = dict[BareMember, Callable[[bytes], int]]  # each member, and its socket's own `send`


def send_to_all(room: BareRoom, frame: bytes) -> None:
    """Do one non-blocking `send` of a ready frame for each member."""
    size = len(frame)
    for member, send in room.items():
        if member.behind:
            member.write_behind(frame)
            continue
        try:
            sent = send(frame)
        except BlockingIOError:
            sent = 0
        except OSError:
            continue  # its own task finds out as well, and takes it out of the room
        if sent < size:
            member.write_behind(frame[sent:])


def take_message(data: bytearray) -> tuple[int, bytes] | None:
    """Take one whole masked frame off the front, as opcode and payload; None if it is not whole."""
    if len(data) < 6:
        return None
    size, head = data[1] & 127, 2
    if size >= 126:
        head = 4 if size == 126 else 10
        size = int.from_bytes(data[2:head], "big")
    end = head + 4 + size
    if len(data) < end:
        return None
    mask = int.from_bytes((data[head : head + 4] * (size // 4 + 1))[:size], "little")
    masked = int.from_bytes(data[head + 4 : end], "little")
    opcode = data[0] & 0x0F
    del data[:end]
    return opcode, (masked ^ mask).to_bytes(size, "little")


def frame_of(opcode: int, payload: bytes) -> bytes:
    """Return one whole frame of the server's."""
    size = len(payload)
    if size < 126:
        return bytes((0x80 | opcode, size)) + payload
    if size < 65_536:
        return bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big") + payload


async def _receive(sock: socket.socket) -> bytes:
    # As trio's own streams do, or a sender that never pauses would be the only one that is read.
    await trio.lowlevel.checkpoint()
    while True:
        try:
            return sock.recv(65_536)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)


async def _handshake(sock: socket.socket) -> tuple[str, bytearray]:
    """Answer the upgrade; return the path, and what came after the head."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        more = await _receive(sock)
        if not more:
            raise ConnectionResetError
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = bytes(head).split(b"\r\n")
    fields = {name.strip().lower(): value.strip() for name, _, value in
              (line.partition(b":") for line in lines[1:])}  # fmt: skip
    accept = base64.b64encode(hashlib.sha1(fields[b"sec-websocket-key"] + _GUID).digest())
    sock.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    return lines[0].split()[1].decode(), rest


async def _serve_member(
    sock: socket.socket, rooms: defaultdict[str, BareRoom], nursery: trio.Nursery
) -> None:
    try:
        path, data = await _handshake(sock)
        room = rooms[path]
        member = BareMember(sock, nursery)
        room[member] = sock.send
        try:
            while True:
                while (taken := take_message(data)) is not None:
                    opcode, payload = taken
                    if opcode == 8:
                        return
                    if opcode in (1, 2):
                        send_to_all(room, frame_of(opcode, payload))
                more = await _receive(sock)
                if not more:
                    return
                data += more
        finally:
            del room[member]
    except OSError:
        return
    finally:
        trio.lowlevel.notify_closing(sock)
        sock.close()


async def serve_bare() -> None:
    """Run the bare loop until cancelled."""
    rooms: defaultdict[str, BareRoom] = defaultdict(dict)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listener:
        listener.setblocking(False)
        _announce(listener.getsockname()[1])
        async with trio.open_nursery() as nursery:
            while True:
                try:
                    sock, _ = listener.accept()
                except BlockingIOError:
                    await trio.lowlevel.wait_readable(listener)
                    continue
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                nursery.start_soon(_serve_member, sock, rooms, nursery)
                await trio.lowlevel.checkpoint()  # a rush of newcomers must not starve the rest


if __name__ == "__main__":
    trio.run({"naive": serve_naive, "bare": serve_bare}[sys.argv[1]])
