"""Every setting of the server, with its unit, its default and its reason.

Bounds of rooms and of the hub are in `roomactors.core.settings`; the table in
``docs/reference/bounds.md`` is generated from both.
"""

from __future__ import annotations

from typing import final

import attrs

from roomactors.core.settings import KIB, MIB, bound


@final
@attrs.frozen(kw_only=True)
class ServerSettings:
    """What one connection may do, and what all of them may together."""

    max_message_bytes: int = bound(
        64 * KIB,
        "bytes",
        "one message, checked before its payload arrives (1009); 0 is no limit",
    )
    max_fragments: int = bound(
        70_000,
        "fragments",
        "above what the Autobahn suite sends in one message, below what costs memory (1008)",
        least=1,
    )
    max_connections: int = bound(
        10_000,
        "connections",
        "about 100 MiB at 10 KiB each; more are answered 503; 0 is no limit",
    )
    max_connections_per_address: int = bound(
        1000,
        "connections",
        "an office behind one address, but not one machine's all; more are answered 429; "
        "0 is no limit, as behind a proxy",
    )
    broadcasts_per_second: float = bound(
        100.0,
        "broadcasts a second",
        "of one connection, with twice as many at once; a game's clock is slower; 0 is no limit",
    )
    excess_seconds: float = bound(
        10.0,
        "seconds",
        "of broadcasting above the rate without a pause, until the connection is closed (4029)",
        least=1,
    )
    bad_messages: int = bound(
        20,
        "messages",
        "that cannot be read, within 10 seconds, until the connection is closed (1008)",
        least=1,
    )
    opening_seconds: float = bound(
        10.0,
        "seconds",
        "from the connect to the upgrade, TLS and admission included",
        least=0.1,
    )
    heartbeat_seconds: float = bound(
        25.0,
        "seconds",
        "of silence before a ping; proxies drop what is silent for 30 to 60",
        least=0.1,
    )
    pong_seconds: float = bound(
        10.0,
        "seconds",
        "for the pong; with the heartbeat, a dead peer is noticed within 35",
        least=0.1,
    )
    idle_seconds: float = bound(
        60.0,
        "seconds",
        "in no room at all, until the connection is closed (1008)",
        least=0.1,
    )
    message_seconds: float = bound(
        30.0,
        "seconds",
        "from a message's first byte to its last (1008)",
        least=0.1,
    )
    progress_seconds: float = bound(
        10.0,
        "seconds",
        "in which a peer that is behind takes no byte, until it is cut off as too slow (4008)",
        least=0.1,
    )
    close_seconds: float = bound(
        2.0,
        "seconds",
        "for the peer's half of the closing handshake",
        least=0.1,
    )
    close_discard_bytes: int = bound(
        MIB,
        "bytes",
        "read and thrown away while closing, so that the close frame is not lost to a reset",
    )
    drain_seconds: float = bound(
        10.0,
        "seconds",
        "from the first signal until every connection is closed (1012)",
        least=0.1,
    )
    own_bytes: int = bound(
        256 * KIB,
        "bytes",
        "of replies that wait for one connection; above it, it is not read until it drains",
        least=1,
    )
    catch_up_bytes: int = bound(
        64 * KIB,
        "bytes",
        "written at once for one room of a connection that is behind, before its next room's",
        least=1,
    )
    read_bytes: int = bound(
        64 * KIB,
        "bytes",
        "read from one connection before the others get their turn",
        least=1,
    )
    unsent_bytes: int = bound(
        128 * KIB,
        "bytes",
        "that the kernel takes from us beyond what is in flight (TCP_NOTSENT_LOWAT); without it a "
        "peer that does not read holds 4 MB of kernel memory",
        least=1,
    )
    allowed_origins: tuple[str, ...] = ()
    """Origins whose pages may connect, beside pages of the host they connect to; "*": all."""
