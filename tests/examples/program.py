"""An example as a process of its own, with its lines."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, final

import msgspec
import trio

from roomactors.server.handshake import Connection

EXAMPLES = Path(__file__).parents[2] / "examples"
PATIENCE = 60.0
"""Seconds for what takes milliseconds on a machine that is not busy."""


@final
class Program:
    """A running example. Made by `run_example`."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._heard = b""

    async def line(self) -> str:
        """The next line of its stdout."""
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._heard:
                data = await self._process.stdout.receive_some()
                assert data, f"the program ended after {self._heard!r}"
                self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        return line.decode()

    async def say(self, line: str) -> None:
        """A line for its stdin."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(f"{line}\n".encode())

    async def end_stdin(self) -> None:
        """Ctrl-D."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()

    def terminate(self) -> None:
        """SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        """Wait until it has ended; its exit status."""
        with trio.fail_after(PATIENCE):
            return await self._process.wait()


@asynccontextmanager
async def run_example(*arguments: str) -> AsyncGenerator[Program]:
    """Run ``python ARGUMENTS…`` in the folder of the examples for the length of a block."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-u", *arguments],
        cwd=EXAMPLES,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        yield Program(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            for pipe in (process.stdin, process.stdout):
                assert pipe is not None
                await pipe.aclose()


async def receive(connection: Connection, **fields: object) -> dict[str, Any]:
    """The next frame that has these fields; those before it are let go."""
    with trio.fail_after(PATIENCE):
        while True:
            frame: dict[str, Any] = msgspec.json.decode(await connection.get_message())
            if all(name in frame and frame[name] == value for name, value in fields.items()):
                return frame


async def send(connection: Connection, **fields: object) -> None:
    """One message of the plain JSON protocol."""
    await connection.send_message(msgspec.json.encode(fields).decode())
