"""`roomactors serve` as a process: its words, its limits, its signals."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.real.frames import BINARY, CLOSE, TEXT, Frame, frame
from tests.real.peer import PATIENCE, Peer, say, upgrade
from tests.real.processes import Process, Served

DEADLINE = 20.0
"""Seconds after the first signal in which a server promises to be gone."""


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the command line to its end: status, stdout, stderr."""
    with Process("-m", "roomactors", *arguments) as process:
        return process.end()


def test_the_version_is_that_of_the_package() -> None:
    """Also as `python -m roomactors`."""
    assert run("--version") == (0, f"{version('roomactors')}\n", "")


def test_the_help_names_each_limit_with_its_default() -> None:
    """Who looks for a limit finds it."""
    status, out, err = run("serve", "--help")
    assert (status, err) == (0, "")
    for flag in LIMITS:
        assert flag in out
    assert out.count("(default: ") >= len(LIMITS)


def test_one_line_with_the_url_to_open_is_said_when_it_is_ready() -> None:
    """The page is there at that moment, and nothing else is said until the end."""
    with Served() as server:
        found = re.fullmatch(r"roomactors serves (http://127\.0\.0\.1:\d+/)", server.ready)
        assert found is not None
        with urlopen(found[1], timeout=PATIENCE) as page:
            assert page.status == 200
        with server.peer() as peer:
            peer.join("tea")
            assert peer.farewell() == 1000
        server.process.signal(signal.SIGTERM)
        assert server.process.end() == (0, "", "")


# What is asked for wrongly

LIMITS = (
    "--max-message-bytes",
    "--max-connections",
    "--max-connections-per-address",
    "--max-rooms-per-connection",
    "--max-members",
    "--broadcasts-per-second",
)


@pytest.mark.parametrize(
    "arguments",
    [
        "",
        "explode",
        "serve --explode",
        "serve --max-conn 5",
        "serve tea",
        "serve --port",
        "serve --port http",
        "serve --port 65536",
        "serve --port -1",
        "serve --port 80.0",
        *(f"serve {flag} {value}" for flag in LIMITS for value in ("-1", "many")),
        "serve --max-connections 1.5",
        "serve --max-members ٥",
        "serve --broadcasts-per-second nan",
        "serve --broadcasts-per-second 1e999",
        "serve --port 0 --host 192.0.2.1",
        "serve --unix /no/such/folder/socket",
        f"serve --unix /tmp/{'x' * 200}",
        "serve --unix /",
        "serve --tls-cert only.pem",
        "serve --tls-key only.pem",
        "serve --tls-cert no-such.pem --tls-key no-such.pem",
        "serve --tls-cert /etc/hostname --tls-key /etc/hostname",
        "serve --tls-cert / --tls-key /",
        "join",
        "join ws://127.0.0.1:1",
        "join ws:// tea",
        "join ftp://127.0.0.1 tea",
        "join ws://127.0.0.1:port tea",
        "join ws://127.0.0.1:99999 tea",
        "join ws://127.0.0.1:1 tea --token två",
        "join ws://127.0.0.1:1 tea --explode",
        # Nobody listens on port 1.
        "join ws://127.0.0.1:1 tea",
    ],
)
def test_a_wrong_command_is_answered_with_one_sentence_and_status_2(arguments: str) -> None:
    """Without a traceback, and nothing on stdout."""
    status, out, err = run(*arguments.split())
    assert (status, out) == (2, ""), err
    (sentence,) = err.splitlines()
    assert re.match(r"roomactors(?: serve| join)?: \S", sentence)


def test_a_taken_port_is_named_in_one_sentence() -> None:
    """The other program goes on."""
    with Served() as server:
        port = str(server.address[1])
        status, out, err = run("serve", "--port", port)
        assert (status, out) == (2, "")
        (sentence,) = err.splitlines()
        assert port in sentence
        assert "in use" in sentence
        with server.peer() as peer:
            peer.join("tea")


# Limits


def _message_bytes(server: Served, limit: int) -> bool:
    size = limit or 2_000_000
    with server.peer("/raw/large") as peer:
        peer.send(frame(BINARY, b"x" * size))
        assert peer.next_message() == Frame(BINARY, b"x" * size)
        if not limit:
            return False
        peer.send_to_the_end(frame(BINARY, b"x" * (size + 1)))
        assert peer.close_code() == 1009
        return True


def _connections(server: Served, limit: int) -> bool:
    with ExitStack() as stack:
        # The default is 10,000, of which this machine may not have the files.
        for _ in range(limit or 20):
            stack.enter_context(server.peer())
        return _refused(server, 503)


def _connections_per_address(server: Served, limit: int) -> bool:
    with ExitStack() as stack:
        for _ in range(limit or 1001):
            stack.enter_context(Peer(server.address))
        return _refused(server, 429)


def _refused(server: Served, status: int) -> bool:
    with Peer(server.address) as peer:
        peer.send(upgrade())
        response = peer.response()
        assert response.status in (status, 101)
        return response.status == status


def _rooms(server: Served, limit: int) -> bool:
    with server.peer() as peer:
        for number in range(limit or 101):
            peer.join(f"room {number}")
        peer.say("join", room="one more", ref=1)
        code = peer.hear("joined", "error").get("code")
        assert code in ("too_many_rooms", None)
        return code is not None


def _members(server: Served, limit: int) -> bool:
    with ExitStack() as stack:
        for _ in range(limit or 20):
            stack.enter_context(server.peer()).join("full")
        peer = stack.enter_context(server.peer())
        peer.say("join", room="full", ref=1)
        code = peer.hear("joined", "error").get("code")
        assert code in ("room_full", None)
        return code is not None


def _broadcasts(server: Served, limit: int) -> bool:
    burst = 2 * limit or 1000
    with server.peer() as peer:
        peer.join("fast")
        peer.send(say("broadcast", room="fast", data=1, ref=1, echo=False) * (burst + 50))
        answers = [peer.hear("ack", "error") for _ in range(burst + 50)]
        refused = [answer["code"] for answer in answers if answer["type"] == "error"]
        assert set(refused) <= {"rate_limited"}
        return bool(refused)


PROBES: dict[str, Callable[[Served, int], bool]] = {
    "--max-message-bytes": _message_bytes,
    "--max-connections": _connections,
    "--max-connections-per-address": _connections_per_address,
    "--max-rooms-per-connection": _rooms,
    "--max-members": _members,
    "--broadcasts-per-second": _broadcasts,
}


@pytest.mark.parametrize("flag", LIMITS)
def test_a_limit_holds_at_its_number_and_0_turns_it_off(flag: str) -> None:
    """Up to the number all is well, one more is refused as documented."""
    with Served(flag, "3") as server:
        assert PROBES[flag](server, 3), "the limit does not hold"
    with Served(flag, "0") as server:
        assert not PROBES[flag](server, 0), "0 does not turn it off"


def test_a_rate_may_be_a_fraction() -> None:
    """One broadcast every two seconds."""
    with Served("--broadcasts-per-second", "0.5") as server, server.peer() as peer:
        peer.join("slow")
        peer.send(say("broadcast", room="slow", data=1, ref=1, echo=False) * 2)
        # The refusal needs no room to say it, and may come before the other's answer.
        answers = {answer["type"]: answer for answer in (peer.hear("ack", "error") for _ in "12")}
        assert answers.keys() == {"ack", "error"}
        assert answers["error"]["code"] == "rate_limited"
        assert 1 < answers["error"]["retry_after"] <= 2


# Signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_signal_drains_and_the_status_is_0(number: signal.Signals) -> None:
    """Who is there is told, gets what is owed, and is closed with 1012; nobody new gets in."""
    with Served() as server, ExitStack() as stack:
        peers = [stack.enter_context(server.peer()) for _ in range(10)]
        for peer in peers:
            peer.join("tea")
        raw = stack.enter_context(server.peer("/raw/tea"))
        peers[0].say("broadcast", room="tea", data="last words", ref=1)
        assert raw.next_message().payload == b"last words"
        begun = time.monotonic()
        server.process.signal(number)
        for peer in peers:
            closing = peer.hear("closing", "message", "ack")
            while closing["type"] != "closing":
                closing = peer.hear("closing", "message", "ack")
            assert closing["reason"] == "restarting"
            assert closing["reconnect_after"] > 0
        assert not _lets_in(server)
        for peer in [*peers, raw]:
            closed = peer.next_message()
            assert (closed.opcode, closed.close_code) == (CLOSE, 1012)
            peer.send(frame(CLOSE, closed.payload))
        assert server.process.end() == (0, "", "")
        assert time.monotonic() - begun < DEADLINE


def _lets_in(server: Served) -> bool:
    try:
        with Peer(server.address) as peer:
            peer.send_to_the_end(upgrade())
            return peer.everything().startswith(b"HTTP/1.1 101")
    except ConnectionError:
        return False


def test_a_drain_waits_for_nobody_beyond_its_deadline() -> None:
    """Peers that neither read, nor answer, nor begin or finish a request do not keep it."""
    with Served() as server, ExitStack() as stack:
        deaf = stack.enter_context(Peer(server.address, receive_buffer=4096)).open("/raw/torrent")
        speaker = stack.enter_context(server.peer("/raw/torrent"))
        for _ in range(30):
            speaker.send(frame(TEXT, b"y" * 60_000))
            speaker.next_message()
        silent = stack.enter_context(server.peer())
        silent.join("tea")
        half = stack.enter_context(Peer(server.address))
        half.send(upgrade()[:50])
        stack.enter_context(Peer(server.address))
        begun = time.monotonic()
        server.process.signal(signal.SIGTERM)
        status, out, _ = server.process.end()
        assert (status, out) == (0, "")
        assert time.monotonic() - begun < DEADLINE
        assert deaf.next_message().opcode == TEXT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
def test_a_second_signal_ends_it_at_once(number: signal.Signals) -> None:
    """With the status that a shell gives to who dies of it."""
    with Served() as server, server.peer() as peer:
        peer.join("tea")
        server.process.signal(signal.SIGTERM)
        peer.hear("closing")
        server.process.signal(number)
        status, out, err = server.process.end()
        assert (status, out) == (128 + number, "")
        assert len(err.splitlines()) == 1


def test_a_server_without_clients_ends_at_once() -> None:
    """It is no test of patience."""
    with Served() as server:
        begun = time.monotonic()
        server.process.signal(signal.SIGTERM)
        assert server.process.end() == (0, "", "")
        assert time.monotonic() - begun < DEADLINE / 4


# Where it listens


def has_ipv6() -> bool:
    """Whether this machine has the address ::1."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_the_host_of_all_addresses_is_reached_by_ipv6_and_ipv4() -> None:
    """On a machine without IPv6 that is said in one sentence, with status 2."""
    if not has_ipv6():
        status, _, err = run("serve", "--port", "0", "--host", "::")
        assert (status, len(err.splitlines())) == (2, 1)
        print("this machine has no IPv6, so nothing was served on it")
        return
    with Served("--host", "::") as server:
        port = server.address[1]
        with Peer(("::1", port)).open() as six, Peer(("127.0.0.1", port)).open() as four:
            six.join("tea")
            four.join("tea")
            four.say("broadcast", room="tea", data="from four")
            assert six.hear("message")["data"] == "from four"


def test_an_ipv6_address_stands_in_brackets_in_the_url() -> None:
    """So that the URL can be opened."""
    if not has_ipv6():
        print("this machine has no IPv6, so nothing was served on it")
        return
    with Served("--host", "::1") as server:
        found = re.fullmatch(r"roomactors serves (http://\[::1\]:\d+/)", server.ready)
        assert found is not None
        with urlopen(found[1], timeout=PATIENCE) as page:
            assert page.status == 200


def test_a_unix_socket_is_served_and_removed_at_the_end(tmp_path: Path) -> None:
    """What a killed server left behind is replaced; where somebody listens, it is refused."""
    path = tmp_path / "rooms.sock"
    with Served("--unix", str(path)) as killed:
        assert killed.ready == f"roomactors serves on the socket {path}"
    assert path.is_socket()
    with Served("--unix", str(path)) as server:
        with Peer(str(path)).open() as ada, Peer(str(path)).open() as bob:
            ada.join("tea")
            bob.join("tea")
            bob.say("broadcast", room="tea", data="hello")
            assert ada.hear("message")["data"] == "hello"
            status, out, err = run("serve", "--unix", str(path))
            assert (status, out) == (2, "")
            assert "in use" in err
            assert len(err.splitlines()) == 1
            ada.say("ping", ref=1)
            assert ada.hear("pong")["ref"] == 1
        with Peer(str(path)).open() as late:
            late.join("tea")
        server.process.signal(signal.SIGTERM)
        assert server.process.end() == (0, "", "")
    assert not path.exists()


def test_a_file_that_is_no_socket_is_not_replaced(tmp_path: Path) -> None:
    """Somebody may need it."""
    path = tmp_path / "letter.txt"
    path.write_text("Dear Ada")
    status, out, err = run("serve", "--unix", str(path))
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert path.read_text() == "Dear Ada"
