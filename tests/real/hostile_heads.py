"""Attacks before there is a WebSocket: heads, garbage, resets, port scans."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable
from functools import partial
from typing import Final

from tests.real.attacks import Attack
from tests.real.peer import KEY, Peer, upgrade
from tests.real.processes import Observed


def _answered(status: int, head: bytes, server: Observed) -> None:
    """Send a head and be told why it is refused, with a body; the end is no reset."""
    with Peer(server.address) as peer:
        peer.send(head)
        response = peer.response()
        assert response.status == status
        body = peer.everything()
        assert len(body) == int(response.headers["content-length"])
        assert b'"message"' in body
        assert b"Traceback" not in body


def _then_reset(data: bytes, server: Observed) -> None:
    """Send bytes and vanish with a RST before an answer can be read."""
    for _ in range(5):
        Peer(server.address).reset_after(data)


def _cut_everywhere(server: Observed) -> None:
    """Reset after each number of bytes of a head."""
    head = upgrade()
    for end in range(0, len(head) + 1, 7):
        Peer(server.address).reset_after(head[:end])


def _port_scan(server: Observed) -> None:
    """Connect and leave, 300 times, in each of the ways to leave."""
    for number in range(300):
        peer = Peer(server.address)
        if number % 3 == 0:
            peer.reset()
        elif number % 3 == 1:
            peer.hang_up()
        else:
            peer.half_close()
            assert peer.everything() == b""
            peer.hang_up()
    server.wait_for_rest("open files", "sockets")


def _tls_hello(server: Observed) -> None:
    """Greet with TLS, and be told that this port does not speak it."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    _answered(400, hello, server)
    _then_reset(hello, server)


def _slow_loris(server: Observed) -> None:
    """Begin many heads and never end them: all are gone after the opening deadline."""
    peers = [Peer(server.address) for _ in range(50)]
    for number, peer in enumerate(peers):
        peer.send(upgrade()[: 1 + number])
    for peer in peers:
        assert peer.everything() == b""
        peer.hang_up()
    server.wait_for_rest("open files", "sockets")


def _drip(server: Observed) -> None:
    """A byte now and then does not move the deadline."""
    with Peer(server.address) as peer:
        head = upgrade("/ws", ("X-Long", "x" * 4000))
        assert peer.drip(head, seconds_between=0.05) < len(head)


def _pipelined(server: Observed) -> None:
    """Behind a plain request there is no second one."""
    with Peer(server.address) as peer:
        peer.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 20)
        assert peer.response().status == 200
        assert peer.everything() == b'{"status":"ok"}'


_BAD: Final[dict[str, tuple[int, bytes]]] = {
    "K1: a byte that is not ASCII in Host": (400, upgrade("/ws", ("Host", "caf\xe9.example"))),
    "K2: bad punycode in Host": (400, upgrade("/ws", ("Host", "xn--ab-99999999"))),
    "K2: punycode of great length": (400, upgrade("/ws", ("Host", "xn--" + "a9" * 3000))),
    "K3: a byte that is not ASCII in Connection": (
        400,
        upgrade("/ws", ("Connection", "Upgrade, \xff")),
    ),
    "K3: a byte that is not ASCII in Sec-WebSocket-Protocol": (
        400,
        upgrade("/ws", ("Sec-WebSocket-Protocol", "chat\xff")),
    ),
    "K3: a byte that is not ASCII in Sec-WebSocket-Extensions": (
        400,
        upgrade("/ws", ("Sec-WebSocket-Extensions", "permessage-deflate; \xe9=1")),
    ),
    "a byte that is not ASCII in Upgrade": (400, upgrade("/ws", ("Upgrade", "websocket\xff"))),
    "a byte that is not ASCII in Sec-WebSocket-Key": (
        400,
        upgrade("/ws", ("Sec-WebSocket-Key", KEY[:-1] + "\xff")),
    ),
    "a byte that is not ASCII in the path": (400, upgrade("/ws\xff")),
    "a zero byte in a header": (400, upgrade("/ws", ("X", "a\0b"))),
    "K4: plain HTTP where WebSocket is spoken": (426, b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n"),
    "garbage": (400, bytes(range(256)) * 8),
    "another protocol's greeting": (400, b"EHLO mail.example\r\n"),
    "HTTP/1.0": (400, upgrade().replace(b"HTTP/1.1", b"HTTP/1.0")),
    "HTTP/2's preface": (400, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "no Host": (400, upgrade(without="Host")),
    "an empty key": (400, upgrade("/ws", ("Sec-WebSocket-Key", ""))),
    "a key of three bytes": (400, upgrade("/ws", ("Sec-WebSocket-Key", "YWJj"))),
    "two keys": (
        400,
        upgrade("/ws", ("Sec-WebSocket-Key", KEY), ("Sec-WebSocket-Key", KEY)),
    ),
    "an old version": (426, upgrade("/ws", ("Sec-WebSocket-Version", "8"))),
    "POST": (405, upgrade().replace(b"GET", b"POST", 1)),
    "an unknown path": (404, upgrade("/nowhere")),
    "a room name that no room may have": (400, upgrade("/raw/%24all")),
    "a room name that is not UTF-8": (400, upgrade("/raw/%ff")),
    "a room name of 256 bytes": (400, upgrade("/raw/" + "a" * 256)),
    "a foreign origin": (403, upgrade("/ws", ("Origin", "http://evil.example"))),
    "a bearer token that is not base64": (
        400,
        upgrade("/ws", ("Sec-WebSocket-Protocol", "roomactors.v1.json, bearer.!!")),
    ),
    "a head of 9 KiB": (431, upgrade("/ws", ("X", "x" * 9216))),
    "240 kB of head": (431, b"GET /ws HTTP/1.1\r\n" + b"X: y\r\n" * 40_000),
    "a request line without an end": (431, b"GET /" + b"a" * 9000),
}

_RESETS: Final[dict[str, bytes]] = {
    "K4: nothing, then RST": b"",
    "K4: half a head, then RST": upgrade()[:60],
    "K4: plain HTTP, then RST": b"GET /ws HTTP/1.1\r\nHost: a\r\n\r\n",
    "K4: a health check, then RST": b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    "K4: garbage, then RST": bytes(range(256)),
    "K1, then RST": upgrade("/ws", ("Host", "caf\xe9.example")),
    "K7: a handshake, then RST": upgrade(),
    "K7: a handshake of /raw, then RST": upgrade("/raw/tea"),
}


def _bind(attack: Callable[..., None], *arguments: object) -> Attack:
    return partial(attack, *arguments)


ATTACKS: Final[dict[str, Attack]] = {
    **{name: _bind(_answered, status, head) for name, (status, head) in _BAD.items()},
    **{name: _bind(_then_reset, data) for name, data in _RESETS.items()},
    "a RST after every few bytes of a head": _cut_everywhere,
    "a greeting in TLS": _tls_hello,
    "many heads that never end": _slow_loris,
    "a head of one byte now and then": _drip,
    "twenty requests in one segment": _pipelined,
    "a port scan": _port_scan,
}
