"""The direct answer to an ordinary upgrade, against trio-websocket's."""

from __future__ import annotations

import pytest

from roomactors.server.admission import plan_upgrade
from roomactors.server.handshake import upgrade_response
from roomactors.server.head import parse_head
from roomactors.server.upgrade import ordinary_upgrade_response
from tests.server.heads import KEY

BEGIN = (
    "GET /ws HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n"
)


@pytest.mark.parametrize(
    "more",
    [
        "",
        "Sec-WebSocket-Protocol: roomactors.v1.json\r\n",
        "Sec-WebSocket-Protocol: roomactors.v1.json, bearer.YWJj\r\n",
        "Sec-WebSocket-Protocol: other\r\n",
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n",
        "Origin: http://example.org\r\nUser-Agent: a browser\r\nCookie: a=b\r\nCookie: c=d\r\n",
        "Authorization: Bearer abc\r\nAccept-Language: de\r\n",
    ],
)
async def test_an_ordinary_upgrade_is_answered_as_trio_websocket_does(more: str) -> None:
    """Byte for byte, whatever headers a browser adds."""
    request = parse_head(f"{BEGIN}{more}\r\n".encode(), remote="", secure=False)
    plan = plan_upgrade(request, allowed_origins=None)
    ours = ordinary_upgrade_response(request, subprotocol=plan.subprotocol)
    assert ours == await upgrade_response(request, subprotocol=plan.subprotocol)


@pytest.mark.parametrize(
    "twice",
    [
        "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n",
        "Connection: keep-alive\r\n",
        "Upgrade: h2c\r\n",
        "Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b\r\n",
    ],
)
def test_a_handshake_header_given_twice_is_left_to_trio_websocket(twice: str) -> None:
    """How such headers combine is not decided in two places."""
    request = parse_head(f"{BEGIN}{twice}\r\n".encode(), remote="", secure=False)
    assert ordinary_upgrade_response(request, subprotocol=None) is None


def test_an_upgrade_without_a_key_is_left_to_trio_websocket() -> None:
    """The front door refuses it before; here it is not taken for granted."""
    head = BEGIN.replace(f"Sec-WebSocket-Key: {KEY}\r\n", "")
    request = parse_head(f"{head}\r\n".encode(), remote="", secure=False)
    assert ordinary_upgrade_response(request, subprotocol=None) is None
