"""Attacks by peers that do not read, do not answer, come in crowds, or leave in crowds."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, Final

from tests.real.attacks import Attack
from tests.real.frames import BINARY, CLOSE, PING, TEXT, close, frame
from tests.real.peer import Peer, say, upgrade
from tests.real.processes import Observed

MEBIBYTE: Final = 1024 * 1024
CROWD: Final = 2000


def _asks_and_never_reads(server: Observed) -> None:
    """Asks for a large roster again and again and reads no answer: it is read no further."""
    with ExitStack() as stack:
        for number in range(100):
            member = stack.enter_context(server.peer())
            member.say("join", room="large", info={"name": "x" * 900, "number": number})
            member.hear("joined")
        memory = server.process.memory
        asker = stack.enter_context(server.peer(receive_buffer=4096))
        asker.join("large")
        ask = say("members", room="large", ref="r")
        taken = asker.fill(ask * 100, most=64 * MEBIBYTE)
        # Each answer is 100 KiB, so if all that was asked had been answered:
        assert taken / len(ask) * 100_000 > 128 * MEBIBYTE
        assert server.process.memory - memory < 16 * MEBIBYTE
    server.wait_for_rest("sockets", "members")


def _stops_reading(server: Observed) -> None:
    """Stops reading while its room goes on: it is cut off, and the others get everything."""
    with (
        server.peer("/raw/torrent") as speaker,
        server.peer() as witness,
        server.peer("/raw/torrent", receive_buffer=4096) as deaf,
    ):
        witness.join("torrent")
        memory = server.process.memory
        data = b"y" * 60_000
        # The rate allows a hundred a second, so it takes no less than ten seconds.
        for number in range(1000):
            speaker.send(frame(TEXT, b"%d " % number + data))
            heard = speaker.next_message()
            assert heard.payload.startswith(b"%d " % number)
            news = _news_in(witness)
            if news is not None:
                assert news["reason"] == "lagged"
                break
        else:
            raise AssertionError("it was never too slow")
        assert server.process.memory - memory < 16 * MEBIBYTE
        deaf.everything()
    server.wait_for_rest("sockets", "members")


def _news_in(witness: Peer) -> dict[str, Any] | None:
    """One message for the witness; what else came before it."""
    heard = witness.next_json()
    if heard["type"] == "message":
        return None
    witness.hear("message")
    return heard


def _half_open(server: Observed) -> None:
    """Says nothing more, not even pong: it is let go, and has left as disconnected."""
    with server.peer() as witness, server.peer() as silent:
        witness.join("silence")
        member = silent.join("silence")["member"]
        witness.hear_news()
        left = witness.hear_news()
        assert (left["type"], left["member"]) == ("member_left", member)
        assert left["reason"] == "disconnected"
        while (taken := silent.next_frame()) is not None:
            assert taken.opcode == PING or taken.opcode == TEXT


def _half_closed(server: Observed) -> None:
    """Closes its sending side only: it has left, and the server closes the other side."""
    with server.peer() as witness, server.peer() as half:
        witness.join("half")
        member = half.join("half")["member"]
        witness.hear_news()
        half.half_close()
        left = witness.hear_news()
        assert (left["member"], left["reason"]) == (member, "disconnected")
        half.everything()


def _never_closes(server: Observed) -> None:
    """Is told to go and keeps the connection open: the server does not wait for ever."""
    with server.peer() as peer:
        peer.send(frame(BINARY, b"not here"))
        closing = peer.next_frame()
        assert closing is not None
        assert closing.opcode == CLOSE
        server.wait_for_rest("open files", "sockets")


def _crowd(server: Observed, *, goodbye: bool) -> None:
    """2,000 come into one room and leave at once; a witness can account for each of them."""
    with server.peer() as witness, ExitStack() as stack:
        last = witness.join("crowd")["seq"] + 1
        end = last + 2 * CROWD
        crowd = []
        for _ in range(CROWD):
            peer = stack.enter_context(Peer(server.address))
            peer.send(upgrade() + say("join", room="crowd"))
            crowd.append(peer)
        ids = set()
        for peer in crowd:
            peer.be_welcomed()
            ids.add(peer.hear("joined")["member"])
        assert len(ids) == CROWD
        for peer in crowd:
            if goodbye:
                peer.send(close(1000))
                peer.hang_up()
            else:
                peer.reset()
        present: set[str] = set()
        joined: set[str] = set()
        while last < end:
            news = witness.hear_news()
            # The range of this frame follows the one before without a hole.
            assert news.get("from", news["seq"]) == last + 1
            last = news["seq"]
            came, gone = _came_and_gone(news)
            assert not came & joined, "somebody joined twice"
            assert gone <= present | came, "somebody left who was not there"
            joined |= came
            present = (present | came) - gone
            if news["type"] == "presence":
                assert news["count"] == 1 + len(present)
        assert not present
        assert joined <= ids
    server.wait_for_rest("open files", "sockets", "members")


def _came_and_gone(news: dict[str, Any]) -> tuple[set[str], set[str]]:
    if news["type"] == "member_joined":
        return {news["member"]}, set()
    if news["type"] == "member_left":
        return set(), {news["member"]}
    return (
        {entry["member"] for entry in news["joined"]},
        {entry["member"] for entry in news["left"]},
    )


def _crowd_that_resets(server: Observed) -> None:
    _crowd(server, goodbye=False)


def _crowd_that_says_goodbye(server: Observed) -> None:
    _crowd(server, goodbye=True)


ATTACKS: Final[dict[str, Attack]] = {
    "a large roster asked for again and again, never read": _asks_and_never_reads,
    "a member that stops reading": _stops_reading,
    "a half-open peer": _half_open,
    "a half-closed peer": _half_closed,
    "a peer that never closes": _never_closes,
}
LONG_ATTACKS: Final[dict[str, Attack]] = {
    "2,000 that reset at once": _crowd_that_resets,
    "2,000 that say goodbye at once": _crowd_that_says_goodbye,
}
"""These take a while on a busy machine, and so want a server that is patient."""
