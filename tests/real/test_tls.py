"""wss and https at a real server, with a certificate that is made here."""

from __future__ import annotations

import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from websockets.sync.client import connect

from tests.real.frames import BINARY, CLOSE, PING, PONG, TEXT, Frame, frame
from tests.real.peer import NO_CLOSE_FRAME, PATIENCE, Peer, upgrade
from tests.real.processes import Served, wait_until


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for localhost that trusts itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    chain, key = folder / "chain.pem", folder / "key.pem"
    subprocess.run(
        (
            *("openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", key, "-out", chain),
        ),
        check=True,
        capture_output=True,
    )
    return chain, key


@pytest.fixture(scope="module")
def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """What a client needs to trust it."""
    return ssl.create_default_context(cafile=str(certificate[0]))


@pytest.fixture
def server(certificate: tuple[Path, Path]) -> Iterator[Served]:
    chain, key = certificate
    with Served("--tls-cert", str(chain), "--tls-key", str(key)) as server:
        yield server


def test_wss_and_https_share_the_port(server: Served, trusting: ssl.SSLContext) -> None:
    """The line says https; the page is there, and two clients that others wrote can talk."""
    assert server.ready == f"roomactors serves https://127.0.0.1:{server.address[1]}/"
    with urlopen(f"https://{server.at}/healthz", timeout=PATIENCE, context=trusting) as page:
        assert page.status == 200
    url = f"wss://{server.at}/ws"
    with connect(url, ssl=trusting) as ada, connect(url, ssl=trusting) as bob:
        for socket in (ada, bob):
            assert json.loads(socket.recv(PATIENCE))["type"] == "welcome"
            socket.send('{"type":"join","room":"tea"}')
            assert json.loads(socket.recv(PATIENCE))["type"] == "joined"
        assert json.loads(ada.recv(PATIENCE))["type"] == "member_joined"
        # Many at once, and large ones: what TLS cannot take without waiting.
        data = "y" * 30_000
        for number in range(60):
            message = {"type": "broadcast", "room": "tea", "data": [number, data], "echo": False}
            bob.send(json.dumps(message))
        for number in range(60):
            assert json.loads(ada.recv(PATIENCE))["data"] == [number, data]


def test_frame_rules_hold_over_tls(server: Served, trusting: ssl.SSLContext) -> None:
    """Close codes arrive; what is in one record with the handshake is not lost."""
    with Peer(server.address, tls=trusting) as peer:
        peer.send(upgrade("/raw/tea") + frame(TEXT, b"early") + frame(PING, b"ping"))
        peer.be_welcomed("/raw/tea")
        came = {peer.next_frame(), peer.next_frame()}
        assert came == {Frame(TEXT, b"early"), Frame(PONG, b"ping")}
        peer.send(frame(3, b"reserved"))
        assert peer.next_message().close_code == 1002
    with Peer(server.address, tls=trusting).open() as peer:
        peer.send(frame(BINARY, b"x") + frame(PING, b"K5"))
        closed = peer.next_message()
        assert closed.close_code == 1003
        peer.send(frame(CLOSE, closed.payload))
        assert peer.next_frame() is None
    with Peer(server.address, tls=trusting).open() as peer:
        peer.join("tea")
        assert peer.farewell() == 1000


def test_what_is_no_tls_is_let_go_and_costs_nothing(
    server: Served, trusting: ssl.SSLContext
) -> None:
    """Plain HTTP, garbage, a client that does not trust us, and resets at each stage."""
    files = server.process.open_files
    with Peer(server.address, tls=trusting).open() as honest:
        honest.join("tea")
        for data in (upgrade(), bytes(range(256)), b"\x16\x03\x01\x02\x00", b""):
            with Peer(server.address) as peer:
                peer.send(data)
                peer.half_close()
                assert b"HTTP" not in peer.everything()
            for _ in range(5):
                Peer(server.address).reset_after(data)
        with pytest.raises(ssl.SSLCertVerificationError):
            Peer(server.address, tls=ssl.create_default_context())
        for stage in (b"", upgrade()[:50], upgrade(), upgrade() + frame(TEXT, b"x")[:3]):
            for _ in range(5):
                Peer(server.address, tls=trusting).reset_after(stage)
        assert wait_until(lambda: server.process.open_files == files + 1)
        honest.say("ping", ref=1)
        assert honest.hear("pong")["ref"] == 1
    assert wait_until(lambda: server.process.open_files == files)


def test_a_drain_tells_clients_of_wss_too(server: Served, trusting: ssl.SSLContext) -> None:
    """`closing`, then 1012, then status 0."""
    with Peer(server.address, tls=trusting).open() as peer:
        peer.join("tea")
        server.process.signal(signal.SIGTERM)
        assert peer.hear("closing")["reason"] == "restarting"
        closed = peer.next_message()
        assert (closed.opcode, closed.close_code) == (CLOSE, 1012)
        peer.send(frame(CLOSE, closed.payload))
        assert peer.close_code() == NO_CLOSE_FRAME
        assert server.process.end() == (0, "", "")


def test_a_certificate_that_does_not_fit_its_key_is_status_2(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    """Found before the port is opened, and said in one sentence."""
    chain, _ = certificate
    other = tmp_path / "other.pem"
    subprocess.run(
        ("openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", other),
        check=True,
        capture_output=True,
    )
    with Served("--tls-cert", str(chain), "--tls-key", str(other)) as server:
        status, out, err = server.process.end()
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert str(other) in err
