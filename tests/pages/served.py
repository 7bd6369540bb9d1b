"""The real server as a process of its own, for the tests of the page."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from types import TracebackType
from typing import Final, Self, final

_ENOUGH: Final = 20.0  # seconds; the server promises to be gone by then


@final
class Served:
    """`roomactors serve`, started, stopped and started again on the same port.

    Args:
      options: further options of the command line.
    """

    def __init__(self, *options: str) -> None:
        self._options = options
        self._port = "0"
        self.url = ""

    def __enter__(self) -> Self:
        """The server accepts connections."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End it at once."""
        self.kill()

    def start(self) -> None:
        """Start it, on the port that it had before, and wait until it accepts connections."""
        command = (sys.executable, "-m", "roomactors", "serve", "--port", self._port)
        self._process = subprocess.Popen(
            (*command, *self._options), stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        found = re.search(r"http://\S+?:(\d+)", line)
        if found is None:
            self.kill()
            raise RuntimeError(f"the server said {line!r}")
        self._port = found[1]
        self.url = f"http://127.0.0.1:{self._port}/"

    def terminate(self) -> None:
        """Ask it to stop; it drains."""
        self._process.send_signal(signal.SIGTERM)

    def wait(self) -> int:
        """Wait until it is gone; its exit status."""
        status = self._process.wait(_ENOUGH)
        self._close()
        return status

    def freeze(self) -> None:
        """Let it neither read nor write any more."""
        self._process.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        """End it without a word; it may be gone already."""
        self._process.kill()
        self._process.wait(_ENOUGH)
        self._close()

    def _close(self) -> None:
        assert self._process.stdout is not None
        self._process.stdout.close()
