"""Servers as processes: started, looked at from outside, told to stop."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, final

from tests.real.peer import PATIENCE, Peer

_ROOT: Final = Path(__file__).parent.parent.parent


@final
class Process:
    """A command that runs, with its pipes.

    Args:
      arguments: of Python; begins with ``-m`` and a module.
      limits: a shell's ``ulimit`` arguments, applied first.
    """

    def __init__(self, *arguments: str, limits: str = "") -> None:
        command = [sys.executable, *arguments]
        if limits:
            command = ["sh", "-c", f'ulimit {limits} && exec "$0" "$@"', *command]
        self._process = subprocess.Popen(
            command,
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        said = self._process.communicate()[1]
        if error is not None and said:
            error.add_note(f"the process said: {said[-5000:]}")

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def line(self) -> str:
        """The next line of its stdout, without the line's end; empty at the end."""
        assert self._process.stdout is not None
        # A pipe has no deadline of its own; a process that says nothing is ended by this.
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            return self._process.stdout.readline().rstrip("\n")
        finally:
            late.cancel()

    def error_line(self) -> str:
        """The next line of its stderr."""
        assert self._process.stderr is not None
        late = threading.Timer(PATIENCE, self._process.kill)
        late.start()
        try:
            return self._process.stderr.readline().rstrip("\n")
        finally:
            late.cancel()

    def type(self, line: str) -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def end(self) -> tuple[int, str, str]:
        """Close its stdin and wait until it is gone: status, the rest of stdout, of stderr."""
        out, err = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, out, err

    # From outside

    @property
    def open_files(self) -> int:
        """How many files it has open."""
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    @property
    def memory(self) -> int:
        """Bytes that it holds in memory."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@final
class Served:
    """`roomactors serve` as a process, for the length of a ``with`` block.

    Args:
      options: of the command line, beside the port, which is a free one.
      limits: a shell's ``ulimit`` arguments.
    """

    def __init__(self, *options: str, limits: str = "") -> None:
        self.process = Process("-m", "roomactors", "serve", "--port", "0", *options, limits=limits)
        self.ready = ""
        """The line that it said when it was ready."""
        self.address = ("127.0.0.1", 0)

    def __enter__(self) -> Self:
        try:
            self.ready = self.process.line()
            found = re.fullmatch(r"roomactors serves https?://(\S+):(\d+)/", self.ready)
            if found is not None:
                self.address = (found[1].strip("[]"), int(found[2]))
        except BaseException:
            self.process.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.__exit__(kind, error, trace)

    @property
    def at(self) -> str:
        """Host and port, as in a URL."""
        return f"{self.address[0]}:{self.address[1]}"

    def peer(self, path: str = "/ws", *headers: tuple[str, str]) -> Peer:
        """A peer that has shaken hands."""
        peer = Peer(self.address)
        try:
            return peer.open(path, *headers)
        except BaseException:
            peer.hang_up()
            raise


@final
class Observed:
    """A server with settings of one's own, which says on request what it holds.

    Args:
      settings: of the server and of its rooms, by name.
    """

    def __init__(self, settings: Mapping[str, float]) -> None:
        self.process = Process("-m", "tests.real.observed", json.dumps(settings))
        self.address = ("127.0.0.1", 0)
        self._at_rest: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.address = ("127.0.0.1", int(self.process.line()))
            self.note_rest()
        except BaseException:
            self.process.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.process.__exit__(kind, error, trace)

    def look(self) -> dict[str, Any]:
        """What it holds now: tasks, sockets, connections, rooms."""
        self.process.type("look")
        seen: dict[str, Any] = json.loads(self.process.line())
        return seen | {"open files": self.process.open_files}

    def note_rest(self) -> None:
        """This is what it holds when nobody attacks."""
        self._at_rest = self.look()

    def wait_for_rest(self, *what: str) -> None:
        """Wait until it holds no more, and no less, than at rest.

        Args:
          what: the keys of `look` to compare; none for all.

        Raises:
          AssertionError: it is not so in time.
        """
        keys = what or tuple(self._at_rest)
        wait_until_equal(
            lambda: {key: value for key, value in self.look().items() if key in keys},
            {key: value for key, value in self._at_rest.items() if key in keys},
        )

    def peer(self, path: str = "/ws", *, receive_buffer: int | None = None) -> Peer:
        """A peer that has shaken hands."""
        peer = Peer(self.address, receive_buffer=receive_buffer)
        try:
            return peer.open(path)
        except BaseException:
            peer.hang_up()
            raise


def wait_until(true: Callable[[], bool], *, seconds: float = PATIENCE) -> bool:
    """Ask again and again; whether it became true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def wait_until_equal(ask: Callable[[], object], wanted: object) -> None:
    """Ask again and again until the answer is the wanted one.

    Raises:
      AssertionError: it was not in time.
    """
    wait_until(lambda: ask() == wanted)
    assert ask() == wanted
