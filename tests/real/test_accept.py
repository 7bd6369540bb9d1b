"""What a server does when it has no file left for a connection."""

from __future__ import annotations

import time
from contextlib import ExitStack

from tests.real.peer import Peer, upgrade
from tests.real.processes import Served, wait_until

FILES = 64
"""What the process may have open, in all."""


def test_a_server_without_files_goes_on_and_recovers() -> None:
    """Who is in can talk; who came too late is served as soon as somebody leaves."""
    # Both limits: the server would raise the soft one to the hard one.
    with Served(limits=f"-n {FILES}") as server, ExitStack() as stack:
        ada, bob = (stack.enter_context(server.peer()) for _ in range(2))
        ada.join("tea")
        bob.join("tea")
        ada.hear_news()
        files = server.process.open_files
        begun = time.monotonic()
        crowd = [stack.enter_context(Peer(server.address)) for _ in range(FILES * 2)]
        for peer in crowd:
            peer.send(upgrade())
        assert wait_until(lambda: server.process.open_files == FILES)
        for number in range(50):
            ada.say("broadcast", room="tea", data=number, echo=False, ref=number)
            assert bob.hear("message")["data"] == number
            assert ada.hear("ack")["ref"] == number
        # It waits for a file, and does not ask for one all the time.
        for _ in range(8):
            assert server.process.error_line().startswith("ERROR cannot accept a connection")
        assert time.monotonic() - begun > 0.5
        admitted = [peer for peer in crowd if peer.has_something_to_hear]
        assert 0 < len(admitted) < FILES
        for peer in admitted:
            peer.hang_up()
        waiting = [peer for peer in crowd if peer not in admitted]
        for peer in waiting:
            peer.be_welcomed()
            peer.hang_up()
        assert wait_until(lambda: server.process.open_files == files)
        with server.peer() as late:
            assert late.join("tea")["count"] == 3
