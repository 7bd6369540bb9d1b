"""`roomactors join`: two people talk in a room from their terminals."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import pytest

from tests.real.peer import Peer, say
from tests.real.processes import Process, Served, wait_until


def terminal(stack: ExitStack, server: Served, room: str, *more: str) -> Process:
    """A terminal in which somebody has joined a room, or tried to."""
    url = f"ws://{server.at}"
    return stack.enter_context(Process("-m", "roomactors", "join", url, room, *more))


def test_two_people_talk_and_see_each_other_come_and_go() -> None:
    """What one types is printed where the other one is, by name, in both directions."""
    with Served() as server, ExitStack() as stack:
        ada = terminal(stack, server, "tea", "--name", "ada")
        assert ada.line() == "* in 'tea' with 1: ada"
        bob = terminal(stack, server, "tea", "--name", "bob")
        assert bob.line() == "* in 'tea' with 2: ada, bob"
        assert ada.line() == "* bob came"
        ada.type("a cup of tea?")
        assert bob.line() == "ada: a cup of tea?"
        bob.type("yes, δύο ☕")
        assert ada.line() == "bob: yes, δύο ☕"
        bob.type("one last word")
        assert bob.end() == (0, "", "")
        assert ada.line() == "bob: one last word"
        assert ada.line() == "* bob left (left)"
        assert ada.end() == (0, "", "")


def test_what_others_write_does_not_command_the_terminal() -> None:
    """Control characters are shown as such; what is no text is shown as JSON."""
    with Served() as server, ExitStack() as stack:
        ada = terminal(stack, server, "tea", "--name", "ada")
        ada.line()
        with server.peer() as peer:
            peer.say("join", room="tea", info={"name": "\x1b]0;evil\x07"})
            peer.hear("joined")
            peer.say("broadcast", room="tea", data="\x1b[2J\nada: I said this")
            peer.say("broadcast", room="tea", data={"x": 1})
            peer.hear("message")
        assert ada.line() == "* \ufffd]0;evil\ufffd came"
        assert ada.line() == "\ufffd]0;evil\ufffd: \ufffd[2J\ufffdada: I said this"
        assert ada.line().endswith(': {"x":1}')


@pytest.mark.parametrize(
    ("options", "room", "sentence"),
    [
        ((), "", "is empty"),
        ((), "x" * 256, "256 bytes"),
        ((), "$metrics", "'$'"),
        (("--max-members", "1"), "full", "is full"),
    ],
)
def test_a_room_that_is_refused_is_explained(
    options: tuple[str, ...], room: str, sentence: str
) -> None:
    """With status 1, though stdin is still open."""
    with Served(*options) as server, ExitStack() as stack:
        stack.enter_context(server.peer()).join("full")
        ada = terminal(stack, server, room)
        assert wait_until(lambda: not ada.runs)
        status, out, err = ada.end()
        assert (status, out, len(err.splitlines())) == (1, "", 1)
        assert sentence in err


def test_a_server_that_refuses_is_named_with_its_reason() -> None:
    """One sentence, and status 2, as for all that cannot be begun."""
    with Served("--max-connections", "1") as server, ExitStack() as stack:
        stack.enter_context(server.peer())
        status, out, err = terminal(stack, server, "tea").end()
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert "503" in err


def test_a_program_that_is_no_such_server_is_named() -> None:
    """One sentence, and status 2."""
    with Served() as server, ExitStack() as stack:
        url = f"ws://{server.at}/nowhere"
        process = stack.enter_context(Process("-m", "roomactors", "join", url, "tea"))
        status, out, err = process.end()
        assert (status, out, len(err.splitlines())) == (2, "", 1)
        assert "404" in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_a_server_that_stops_ends_it_with_status_1(number: signal.Signals) -> None:
    """It is said, though stdin is still open and somebody may be typing."""
    with Served() as server, ExitStack() as stack:
        ada = terminal(stack, server, "tea")
        ada.line()
        server.process.signal(number)
        assert wait_until(lambda: not ada.runs)
        status, out, err = ada.end()
        assert (status, out) == (1, "")
        assert "the server ended the connection" in err.splitlines()[-1]
        assert "Traceback" not in err


def test_control_c_leaves_at_once() -> None:
    """With the status that a shell knows, and nothing more on the screen."""
    with Served() as server, ExitStack() as stack:
        witness: Peer = stack.enter_context(server.peer())
        witness.join("tea")
        ada = terminal(stack, server, "tea")
        ada.line()
        assert witness.hear_news()["type"] == "member_joined"
        ada.signal(signal.SIGINT)
        status, out, err = ada.end()
        assert (status, out) == (130, "")
        assert "Traceback" not in err
        assert witness.hear_news()["type"] == "member_left"


def test_a_token_is_sent_and_a_url_of_http_will_do() -> None:
    """The server of the command line lets everybody in, with a token or without."""
    with Served() as server, ExitStack() as stack:
        process = Process(
            "-m", "roomactors", "join", f"http://{server.at}/", "tea", "--token", "secret"
        )
        ada = stack.enter_context(process)
        assert ada.line().startswith("* in 'tea' with 1")
        witness = stack.enter_context(server.peer())
        witness.join("tea")
        witness.send(say("broadcast", room="tea", data="seen"))
        assert ada.line().endswith("came")
        assert ada.line().endswith("seen")
