"""The servers that are measured, one entry each, and how a process of one is run."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, final
from urllib.parse import urlsplit

import attrs

ROOT: Final = Path(__file__).parents[2]  # the checkout; `-m` finds its packages there
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 5.0


class ServerError(Exception):
    """A server did not start, or did not live through its run."""


@final
@attrs.frozen(kw_only=True)
class Server:
    """A server with the contract of `/raw/{room}`.

    Its command prints one line with its URL when it accepts connections.
    """

    name: str
    summary: str
    command: tuple[str, ...]  # arguments of this Python
    one_order: bool  # whether all members of a room get the same order
    speaks_json: bool = False  # whether it has the plain JSON protocol at `/ws` as well


@final
@attrs.frozen
class Running:
    """A server that accepts connections."""

    server: Server
    pid: int
    port: int


_LIMITS_OFF: Final = tuple(
    argument
    for limit in (
        "max-connections",
        "max-connections-per-address",
        "max-rooms-per-connection",
        "max-members",
        "broadcasts-per-second",
    )
    for argument in (f"--{limit}", "0")
)

OURS: Final = Server(
    name="roomactors",
    summary="roomactors serve, its limits on numbers off",
    command=("-m", "roomactors", "serve", "--host", "127.0.0.1", "--port", "0", *_LIMITS_OFF),
    one_order=True,
    speaks_json=True,
)
BARE: Final = Server(
    name="bare loop",
    summary="one socket.send of a ready frame per member and message, on trio",
    command=("-m", "tests.benchmarks.reference_servers", "bare"),
    one_order=True,
)
NAIVE: Final = Server(
    name="naive loop",
    summary="trio-websocket, a dict of sets, one awaited send_message per member",
    command=("-m", "tests.benchmarks.reference_servers", "naive"),
    one_order=False,
)
SERVERS: Final = (OURS, BARE, NAIVE)


@contextmanager
def running(server: Server) -> Iterator[Running]:
    """Run a server for the length of a `with` block.

    Raises:
      ServerError: it did not say its URL within 20 s, or it ended before the block did.
    """
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            [sys.executable, *server.command],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )

        def said() -> str:
            errors.seek(0)
            return errors.read()[-2000:].decode(errors="replace").strip()

        try:
            port = urlsplit(_first_line(process)).port
            if port is None:
                raise ServerError(f"{server.name} did not start: {said()}")
            yield Running(server, process.pid, port)
            if process.poll() is not None:
                raise ServerError(f"{server.name} ended with {process.returncode}: {said()}")
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _first_line(process: subprocess.Popen[bytes]) -> str:
    """Return the first line a server prints, or an empty one if it ends or takes too long."""
    assert process.stdout is not None
    timer = threading.Timer(_START_SECONDS, process.kill)
    timer.start()
    try:
        with process.stdout as lines:
            line = next((word for word in lines.readline().decode().split() if "://" in word), "")
    finally:
        timer.cancel()
    return line
