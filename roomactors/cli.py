"""The command line: `roomactors serve`, and `roomactors join` to talk in a room from a terminal.

What a person gets wrong is answered with one sentence on stderr and exit
status 2; a traceback is a bug.
"""

from __future__ import annotations

import argparse
import errno
import gc
import getpass
import logging
import math
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import attrs
import trio

from roomactors.core.settings import HubSettings, RoomSettings
from roomactors.errors import CannotConnectError
from roomactors.server.config import ServerSettings
from roomactors.server.listen import Server, serve
from roomactors.terminal import talk, websocket_url

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

USAGE: Final = 2
"""Exit status of a command that was asked for wrongly."""
COLLECT_CONNECTIONS: Final = 1000
"""Ended connections, about 3 MB, that are worth a look for cycles."""
COLLECT_SECONDS: Final = 5.0
"""Between two such looks at the least, since each stops the loop."""
INTERRUPTED: Final = 130
"""Exit status after a second signal: 128 and SIGINT's number."""

_LIMITS: Final = (
    ("--max-message-bytes", ServerSettings, "max_message_bytes"),
    ("--max-connections", ServerSettings, "max_connections"),
    ("--max-connections-per-address", ServerSettings, "max_connections_per_address"),
    ("--max-rooms-per-connection", HubSettings, "max_rooms_per_member"),
    ("--max-members", RoomSettings, "max_members"),
    ("--broadcasts-per-second", ServerSettings, "broadcasts_per_second"),
)
"""The limits that have a flag, and where each is declared with its default and reason."""


if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction["_Parser"]


class _Problem(Exception):
    """What is told to the person: one sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
      arguments: without the program's name; None takes the process's own.

    Returns:
      The exit status.
    """
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING,
        format="%(levelname)s %(message)s",
        stream=sys.stderr,
    )
    try:
        status: int = options.run(options)
    except _Problem as problem:
        print(f"roomactors: {problem}", file=sys.stderr)
        return USAGE
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if _is_only_an_interrupt(error):
            return INTERRUPTED
        raise
    return status


def _is_only_an_interrupt(error: BaseException) -> bool:
    # trio's nurseries put the interrupt into groups, perhaps beside cancellations.
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_only_an_interrupt, error.exceptions))
    return isinstance(error, KeyboardInterrupt)


class _Parser(argparse.ArgumentParser):
    """One sentence for a mistake, in place of the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message} (try --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="roomactors",
        description="Realtime rooms over WebSocket: each room is one trio task.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=version("roomactors"))
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    common = _Parser(add_help=False)
    common.add_argument(
        "--verbose", action="store_true", help="log what is refused and who is cut off"
    )
    _add_serve(commands, common)
    _add_join(commands, common)
    return parser


def _add_serve(commands: Commands, common: _Parser) -> None:
    command = commands.add_parser(
        "serve",
        help="serve rooms, with a chat page to try them",
        description="Serve rooms over WebSocket, with a chat page at /. "
        "SIGINT and SIGTERM end it in good order; a second one ends it at once.",
        parents=[common],
        allow_abbrev=False,
    )
    where = command.add_argument_group("where")
    where.add_argument("--host", default="127.0.0.1", help="address (default: %(default)s)")
    where.add_argument(
        "--port", type=_port, default=8000, help="TCP port; 0: any free one (default: %(default)s)"
    )
    where.add_argument("--unix", metavar="PATH", help="serve on a Unix socket in place of a port")
    where.add_argument("--tls-cert", metavar="FILE", help="serve wss with this certificate chain")
    where.add_argument("--tls-key", metavar="FILE", help="its private key")
    where.add_argument(
        "--allow-origin",
        metavar="ORIGIN",
        action="append",
        default=[],
        help="let pages of this origin connect, beside those of the same host; '*' lets all; "
        "may be given more than once",
    )
    limits = command.add_argument_group("limits (0 turns one off)")
    for flag, owner, name in _LIMITS:
        field = attrs.fields_dict(owner)[name]
        limits.add_argument(
            flag,
            dest=name,
            metavar="N",
            type=_limit if isinstance(field.default, int) else _rate,
            default=field.default,
            help=f"{field.metadata['unit']} (default: %(default)s)",
        )
    command.set_defaults(run=_serve)


def _add_join(commands: Commands, common: _Parser) -> None:
    command = commands.add_parser(
        "join",
        help="talk in a room from a terminal",
        description="Join a room: what you type is broadcast, what the others say is printed. "
        "End it with Ctrl-D.",
        parents=[common],
        allow_abbrev=False,
    )
    command.add_argument("url", metavar="URL", help="of the server, as ws://127.0.0.1:8000")
    command.add_argument("room", metavar="ROOM")
    command.add_argument("--name", help="what the others see (default: your login name)")
    command.add_argument("--token", help="sent as a bearer token")
    command.set_defaults(run=_join)


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number, 0 or more")
    return int(text)


def _rate(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number, 0 or more")
    return number


# serve


def _serve(options: argparse.Namespace) -> int:
    given = vars(options)
    chosen = {
        owner: {name: given[name] for _, of, name in _LIMITS if of is owner}
        for owner in (ServerSettings, RoomSettings, HubSettings)
    }
    settings = ServerSettings(**chosen[ServerSettings], allowed_origins=tuple(options.allow_origin))
    hub_settings = HubSettings(**chosen[HubSettings], room=RoomSettings(**chosen[RoomSettings]))
    tls = _tls_context(options.tls_cert, options.tls_key)
    _raise_file_limit()
    _tune_garbage_collection()
    return trio.run(partial(_run_server, options, settings, hub_settings, tls))


async def _run_server(
    options: argparse.Namespace,
    settings: ServerSettings,
    hub_settings: HubSettings,
    tls: ssl.SSLContext | None,
) -> int:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            start = partial(
                serve,
                options.host,
                options.port,
                unix=options.unix,
                settings=settings,
                hub_settings=hub_settings,
                tls=tls,
            )
            problem = None
            try:
                server: Server = await nursery.start(start)
            except OSError as error:
                problem = _explain_address(options, error)
            else:
                print(f"roomactors serves {_url(options, server, tls)}", flush=True)
                nursery.start_soon(_collect_ended_connections, server)
                await anext(signals)
                nursery.start_soon(_end_at_once_on_signal, signals)
                await server.drain()
            nursery.cancel_scope.cancel()
    if problem is not None:
        raise _Problem(problem)
    return 0


async def _end_at_once_on_signal(signals: AsyncIterator[int]) -> None:
    number = await anext(signals)
    print("roomactors: stopped before everyone was told", file=sys.stderr, flush=True)
    os._exit(128 + number)


def _url(options: argparse.Namespace, server: Server, tls: ssl.SSLContext | None) -> str:
    if options.unix:
        return f"on the socket {options.unix}"
    # What listens on every address is reached by this name here.
    host = "localhost" if options.host in {"", "0.0.0.0", "::"} else options.host  # noqa: S104
    scheme = "http" if tls is None else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/"


def _explain_address(options: argparse.Namespace, error: OSError) -> str:
    what = options.unix or f"{options.host}:{options.port}"
    if error.errno == errno.EADDRINUSE:
        choose = "another --unix" if options.unix else "another --port, or --port 0 for any"
        return f"{what} is in use by another program; choose {choose}"
    if error.errno == errno.EACCES:
        return f"you may not listen on {what}"
    if isinstance(error, socket.gaierror):
        return f"there is no address for the host {options.host!r}"
    return f"cannot listen on {what}: {os.strerror(error.errno) if error.errno else error}"


def _tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise _Problem("--tls-cert and --tls-key go together")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    for path in (certificate, key):
        if not os.access(path, os.R_OK):
            raise _Problem(f"cannot read {path!r}")
    try:
        context.load_cert_chain(certificate, key)
    except (ssl.SSLError, OSError) as error:
        raise _Problem(
            f"{certificate!r} and {key!r} are not a certificate in PEM and its key: {error}"
        ) from None
    return context


def _raise_file_limit() -> None:
    """Allow as many open files as the system lets us: each connection is one."""
    if resource is None:
        return
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _tune_garbage_collection() -> None:
    """Look for cycles where they come from, and not after every so many objects.

    Messages make none, but what a log keeps of them counts as new objects, and
    looking through 20,000 connections stops the loop for about 80 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 1_000, 1_000)


async def _collect_ended_connections(server: Server) -> None:
    """Let go of connections that have ended: each leaves cycles of about 3 KB."""
    collected = 0
    while True:
        await trio.sleep(COLLECT_SECONDS)
        statistics = server.statistics()
        ended = statistics.accepted - statistics.sockets
        if ended - collected >= COLLECT_CONNECTIONS:
            gc.collect()
            collected = ended


# join


def _join(options: argparse.Namespace) -> int:
    if options.token is not None and not options.token.isascii():
        raise _Problem("a token is ASCII")
    try:
        url = websocket_url(options.url)
    except ValueError as error:
        raise _Problem(f"{options.url!r} is not the URL of a server: {error}") from None
    try:
        return trio.run(
            partial(talk, url, options.room, name=options.name or _login(), token=options.token)
        )
    except CannotConnectError as error:
        raise _Problem(str(error)) from None


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "somebody"
