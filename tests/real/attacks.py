"""What the tables of attacks have in common: the server to attack, and a name for each attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tests.real.processes import Observed

Attack: TypeAlias = Callable[[Observed], None]
"""Attacks a server, and asserts that it is answered as it deserves; leaves nothing open."""

MESSAGE_BYTES: Final = 65_536
"""The server's limit for one message."""

PATIENT: Final[dict[str, float]] = {
    "max_message_bytes": MESSAGE_BYTES,
    # Everybody here comes from one address.
    "max_connections_per_address": 0,
    "linger_seconds": 0.5,
}
"""Settings of a server that waits as long as by default."""

IMPATIENT: Final[dict[str, float]] = {
    **PATIENT,
    # Short where waiting is part of an attack, and long enough for a busy machine.
    "opening_seconds": 2.0,
    "close_seconds": 1.0,
    "progress_seconds": 1.0,
    "heartbeat_seconds": 1.0,
    "pong_seconds": 2.0,
    "message_seconds": 2.0,
}
