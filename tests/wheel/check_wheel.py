"""Build the wheel, install it into an empty environment, and hear a message from there.

`python -m tests.wheel.check_wheel`, from an environment with the project's
test and dev extras; the checkout is only read.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit
from urllib.request import urlopen

from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0  # seconds, for each thing that the server should do at once


def main() -> None:
    """Do all of it; a step that goes wrong raises."""
    with TemporaryDirectory(prefix="wheel-") as scratch:
        directory = Path(scratch)
        wheel = build(directory)
        see_that_all_is_in(wheel)
        command = install(wheel, directory / "venv")
        with serving(command, directory) as (process, url):
            talk(url)
            process.send_signal(signal.SIGTERM)
            if (status := process.wait(PATIENCE)) != 0:
                raise SystemExit(f"after SIGTERM the server exited with {status}, not 0")
    say("the wheel is good")


def say(what: str) -> None:
    """Show the progress."""
    print(f"-- {what}", flush=True)


def run(*command: str | Path, cwd: Path) -> None:
    """Run a command that must succeed, away from the checkout and its settings."""
    subprocess.run(command, cwd=cwd, env=environment(), check=True)


def environment() -> dict[str, str]:
    """The environment without what could bring the checkout's package in."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def build(directory: Path) -> Path:
    """Build a source archive, and from that the wheel, so that both are known to be whole."""
    say("building the source archive and the wheel")
    run(sys.executable, "-m", "build", "--outdir", directory / "dist", ROOT, cwd=directory)
    (wheel,) = (directory / "dist").glob("*.whl")
    return wheel


def see_that_all_is_in(wheel: Path) -> None:
    """Compare the wheel's files with the checkout's."""
    package = ROOT / "roomactors"
    wanted = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.py", "py.typed", "pages/*")
        for path in package.rglob(pattern)
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    if packed != wanted:
        raise SystemExit(
            f"missing in the wheel: {sorted(wanted - packed)}; "
            f"in it, but in no place known here: {sorted(packed - wanted)}"
        )
    say(f"{wheel.name} has all {len(packed)} files")


def install(wheel: Path, venv: Path) -> Path:
    """Install the wheel, and nothing but what it asks for; gives its command."""
    say("installing it into an empty environment")
    run(sys.executable, "-m", "venv", venv, cwd=venv.parent)
    pip = ["-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    run(venv / "bin" / "python", *pip, wheel, cwd=venv.parent)
    return venv / "bin" / "roomactors"


@contextmanager
def serving(command: Path, directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve on a free port; gives the process and the URL that it says to open."""
    say("serving from there")
    process = subprocess.Popen(
        [command, "serve", "--port", "0"],
        cwd=directory,
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    # Reading a line has no deadline of its own; a server that says nothing is ended by this.
    late = threading.Timer(PATIENCE, process.kill)
    late.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        late.cancel()
        if (found := re.search(r"https?://\S+", line)) is None:
            raise SystemExit(f"the server's first line names no URL: {line!r}")
        yield process, found.group()
    finally:
        late.cancel()
        process.kill()
        process.wait()


def talk(url: str) -> None:
    """Ask for its health and its page, then join a room and hear oneself."""
    at = urlsplit(url).netloc
    for path in ("/healthz", "/"):
        with urlopen(f"http://{at}{path}", timeout=PATIENCE) as answer:
            if answer.status != 200:
                raise SystemExit(f"GET {path} is answered with {answer.status}")
        say(f"GET {path}: 200")
    with connect(f"ws://{at}/ws", open_timeout=PATIENCE) as socket:
        hear(socket, "welcome")
        socket.send(json.dumps({"type": "join", "room": "tea", "ref": 1}))
        hear(socket, "joined")
        socket.send(json.dumps({"type": "broadcast", "room": "tea", "data": {"cups": 2}}))
        message = hear(socket, "message")
        if message["data"] != {"cups": 2}:
            raise SystemExit(f"what was broadcast came back as {message['data']}")
    say("joined a room, broadcast, and heard it")


def hear(socket: ClientConnection, kind: str) -> dict[str, object]:
    """The next message from the server, which must be of this type."""
    message: dict[str, object] = json.loads(socket.recv(PATIENCE))
    if message["type"] != kind:
        raise SystemExit(f"{kind!r} should have come, but {message} did")
    return message


if __name__ == "__main__":
    main()
