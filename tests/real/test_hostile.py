"""One server lives through everything that hurts a careless one, and nobody else notices."""

from __future__ import annotations

from contextlib import ExitStack, suppress

import pytest

from tests.real import hostile_frames, hostile_heads, hostile_messages, hostile_peers
from tests.real.attacks import IMPATIENT, PATIENT, Attack
from tests.real.frames import BINARY, close, frame
from tests.real.honest import Chat
from tests.real.peer import PATIENCE, Peer, upgrade
from tests.real.processes import Observed, Served, wait_until

ATTACKS = {
    **hostile_heads.ATTACKS,
    **hostile_frames.ATTACKS,
    **hostile_messages.ATTACKS,
    **hostile_peers.ATTACKS,
}
LONG_ATTACKS = {**hostile_frames.LONG_ATTACKS, **hostile_peers.LONG_ATTACKS}
MEMORY = 48 * 1024 * 1024
"""Bytes that a server may keep of what 4,000 connections needed, for the next ones."""


@pytest.mark.parametrize(
    ("settings", "attacks"),
    [
        pytest.param(IMPATIENT, ATTACKS, id="one by one"),
        pytest.param(PATIENT, LONG_ATTACKS, id="long ones"),
    ],
)
def test_one_server_lives_through_all_attacks(
    settings: dict[str, float], attacks: dict[str, Attack], subtests: pytest.Subtests
) -> None:
    """Each attack is answered as it deserves, and two honest people chat on through all of them."""
    with Observed(settings) as server, Chat(server.address) as chat:
        chat.go_on()
        server.note_rest()
        memory = server.process.memory
        for name, attack in attacks.items():
            with subtests.test(name):
                attack(server)
                chat.go_on()
        assert server.process.runs
        server.wait_for_rest()
        assert server.process.memory - memory < MEMORY
        assert chat.finish() > len(attacks)
        with server.peer() as peer:
            assert peer.join("afterwards")["count"] == 1


def test_behind_its_close_frame_the_server_says_that_it_is_done() -> None:
    """A client sees the end at once, however long the server would wait for the client's half."""
    with Observed(PATIENT | {"close_seconds": 10 * PATIENCE}) as server, server.peer() as peer:
        peer.send(frame(BINARY, b"x"))
        assert peer.close_code() == 1003
        assert server.look()["sockets"] == 1
        peer.send(close(1003))
        server.wait_for_rest("sockets", "open files")


@pytest.mark.parametrize(
    ("option", "status"),
    [("--max-connections", 503), ("--max-connections-per-address", 429)],
)
def test_connections_over_a_limit_are_refused_and_their_files_come_back(
    option: str, status: int
) -> None:
    """Those who are in notice nothing; when one leaves, there is a place."""
    with Served(option, "5") as server, ExitStack() as stack:
        inside = [stack.enter_context(server.peer()) for _ in range(5)]
        for peer in inside:
            peer.join("full")
        files = server.process.open_files
        lingering = [stack.enter_context(Peer(server.address)) for _ in range(20)]
        for _ in range(300):
            with Peer(server.address) as refused:
                refused.send(upgrade())
                assert refused.response().status == status
        for peer in lingering:
            peer.hang_up()
        assert wait_until(lambda: server.process.open_files == files)
        for peer in inside:
            peer.say("ping", ref=1)
            assert peer.hear("pong")["ref"] == 1
        silent = stack.enter_context(Peer(server.address))
        assert inside[0].farewell() == 1000
        assert wait_until(lambda: server.process.open_files == files)
        # One that was refused takes nobody's place, though it is waited for
        # another ten seconds; the place is free once the server has seen to the leaver.
        assert wait_until(lambda: _is_let_in(server), seconds=5)
        silent.hang_up()


def _is_let_in(server: Served) -> bool:
    with Peer(server.address) as peer:
        peer.send(upgrade())
        return peer.response().status == 101


def test_more_refusals_than_can_be_told_are_let_go_at_once() -> None:
    """A crowd that connects and says nothing does not hold files beyond a bound."""
    with Served("--max-connections", "1") as server, ExitStack() as stack:
        inside = stack.enter_context(server.peer())
        files = server.process.open_files
        crowd = []
        for _ in range(600):
            with suppress(ConnectionError):  # those above the bound may be gone before they know
                crowd.append(stack.enter_context(Peer(server.address)))
        with suppress(ConnectionError), Peer(server.address) as last:
            assert last.everything() == b""
        # The first ones are still waited for, so it was not a deadline that ended the last.
        assert not crowd[0].has_something_to_hear
        assert server.process.open_files - files <= 256
        for peer in crowd:
            peer.hang_up()
        assert wait_until(lambda: server.process.open_files == files)
        inside.say("ping", ref=1)
        assert inside.hear("pong")["ref"] == 1
