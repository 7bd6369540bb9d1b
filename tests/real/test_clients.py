"""Clients that others wrote, at a real server."""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio_websocket
import websockets
from websockets.asyncio.client import connect as connect_asyncio
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from roomactors.server.config import ServerSettings
from tests.real.peer import PATIENCE
from tests.real.processes import Served

PROTOCOL = Subprotocol("roomactors.v1.json")
NODE = Path(__file__).with_name("client.mjs")


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with Served() as server:
        yield server


def hear(connection: ClientConnection, kind: str) -> dict[str, object]:
    """The next message, which is of this type."""
    heard: dict[str, object] = json.loads(connection.recv(PATIENCE))
    assert heard["type"] == kind, heard
    return heard
