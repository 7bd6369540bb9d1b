"""Where a server listens: addresses and ports, or a path."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import AsyncGenerator
from pathlib import Path

import trio

BACKLOG = 1024
"""Connections that the kernel completes before they are accepted: half a second's worth."""


@contextlib.asynccontextmanager
async def open_listeners(
    host: str | None, port: int, unix: str | os.PathLike[str] | None
) -> AsyncGenerator[list[socket.socket], None]:
    """Listening sockets for the length of a block.

    Args:
      host: a name or an address; None is all addresses of this machine.
      port: 0 lets the system choose; all addresses of a name share it.
      unix: a path, in place of both. A socket that nobody listens on any more
        is replaced, and the file is gone at the end.

    Raises:
      OSError: the address is in use, or cannot be had; nothing is left open.
    """
    with contextlib.ExitStack() as stack:
        if unix is not None:
            yield [_listen_on_path(stack, Path(unix))]
            return
        found = await trio.socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        listeners: list[socket.socket] = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listener = stack.enter_context(socket.socket(family, kind, protocol))
            if os.name != "nt":  # pragma: no branch - the tests run on Linux
                # There it would let another program take the port over.
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # Alone, "::" takes IPv4 too; beside "0.0.0.0" it must not.
                only = len(found) > 1 or address[0] != "::"
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only)
            # All addresses of a name share the port that the first one got.
            shared = port or (listeners[0].getsockname()[1] if listeners else 0)
            listener.bind((address[0], shared, *address[2:]))
            listener.listen(BACKLOG)
            listener.setblocking(False)
            listeners.append(listener)
        yield listeners


def _listen_on_path(stack: contextlib.ExitStack, path: Path) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no Unix sockets")
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode) and not _somebody_listens(path):
        path.unlink()  # what a server that was killed left behind
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(str(path))
    stack.callback(path.unlink, missing_ok=True)
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return listener


def _somebody_listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # One who is too busy to accept would have this wait for ever.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            pass  # too busy, or not for us: it is not ours to remove
        return True
