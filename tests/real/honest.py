"""Two honest people who keep chatting while others attack, on a client that others wrote."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Any, Final, Self, final

from websockets.sync.client import ClientConnection, connect

from tests.real.peer import PATIENCE
from tests.real.processes import wait_until

PAUSE: Final = 0.02
"""Seconds between two messages: half of what the server allows."""


@final
class Chat:
    """One says numbers, one after another, and the other one hears them.

    Args:
      address: host and port of the server.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self._url = f"ws://{address[0]}:{address[1]}/ws"
        self._open = ExitStack()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(self._speak,)),
            threading.Thread(target=self._run, args=(self._listen,)),
        ]
        self._said = 0
        self._heard = 0
        self._problem: BaseException | None = None

    def __enter__(self) -> Self:
        self._speaker, self._listener = (
            self._open.enter_context(connect(self._url, open_timeout=PATIENCE)) for _ in range(2)
        )
        self._seq = _join(self._listener)["seq"] + 1
        _join(self._speaker)
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        self._open.close()

    def go_on(self) -> None:
        """Wait until three more messages have been said and heard.

        Raises:
          AssertionError: one got lost or came out of order, or the server did not answer.
        """
        wanted = self._heard + 3
        wait_until(lambda: self._heard >= wanted or self._problem is not None)
        if self._problem is not None:
            raise AssertionError("an honest client was hurt") from self._problem
        assert self._heard >= wanted, "an honest client hears nothing more"

    def finish(self) -> int:
        """Say nothing more, and hear all that has been said; how much it was."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        if self._problem is not None:
            raise AssertionError("an honest client was hurt") from self._problem
        assert self._heard == self._said
        return self._said

    def _run(self, part: Callable[[], None]) -> None:
        try:
            part()
        except BaseException as problem:  # noqa: BLE001 - reported by go_on and finish
            self._problem = problem

    def _speak(self) -> None:
        while not self._stop.wait(PAUSE):
            ask = {"type": "broadcast", "room": "honest", "data": self._said, "ref": self._said}
            self._speaker.send(json.dumps(ask))
            answers = {_receive(self._speaker)["type"] for _ in range(2)}
            assert answers == {"ack", "message"}
            self._said += 1

    def _listen(self) -> None:
        assert _receive(self._listener)["type"] == "member_joined"
        self._seq += 1
        while not (self._stop.is_set() and self._heard == self._said):
            try:
                heard = _receive(self._listener, 0.5)
            except TimeoutError:
                continue
            self._seq += 1
            assert (heard["type"], heard["seq"]) == ("message", self._seq)
            assert heard["data"] == self._heard
            self._heard += 1


def _join(connection: ClientConnection) -> dict[str, Any]:
    assert _receive(connection)["type"] == "welcome"
    connection.send(json.dumps({"type": "join", "room": "honest", "ref": "join"}))
    joined = _receive(connection)
    assert joined["type"] == "joined"
    return joined


def _receive(connection: ClientConnection, seconds: float = PATIENCE) -> dict[str, Any]:
    heard: dict[str, Any] = json.loads(connection.recv(seconds))
    return heard
