"""Each example does what it says, as a process with real sockets."""

from __future__ import annotations

import re

import pytest
import trio

from roomactors.errors import CannotConnectError
from roomactors.server.handshake import ConnectionClosed, open_websocket
from tests.examples.program import EXAMPLES, Program, receive, run_example, send
from tests.pages.browser import Person

ADA = [("Authorization", "Bearer token-of-ada")]
BOB = [("Authorization", "Bearer token-of-bob")]


async def port_in(program: Program) -> int:
    """The port in the line that a program prints first."""
    found = re.search(r":(\d+)/", await program.line())
    assert found is not None
    return int(found[1])


def test_the_program_of_twenty_lines_has_twenty() -> None:
    """The README says so."""
    assert len((EXAMPLES / "twenty_lines.py").read_text().splitlines()) <= 20


async def test_the_program_of_twenty_lines_greets_and_repeats() -> None:
    """A member in the program's own process talks with one who is connected."""
    run = "import trio, twenty_lines; trio.run(twenty_lines.main, 0)"
    async with run_example("-c", run) as program:
        url = f"ws://127.0.0.1:{await port_in(program)}/ws"
        async with open_websocket(url) as ada:
            await send(ada, type="join", room="tea", ref=1)
            joined = await receive(ada, type="joined", ref=1)
            assert joined["members"][0]["info"] == {"name": "Parrot"}
            greeting = await receive(ada, type="message")
            assert greeting["data"].startswith("Hello!")
            await send(ada, type="broadcast", room="tea", data="polly", echo=False)
            assert (await receive(ada, type="message"))["data"] == "polly, polly!"


async def test_two_chat_clients_talk_over_the_chat_server() -> None:
    """They see each other come, speak and go; the server says so, and ends with everybody told."""
    async with run_example("chat_server.py", "0") as server:
        url = f"ws://127.0.0.1:{await port_in(server)}/ws"
        async with run_example("chat_client.py", url, "tea", "Ada", "token-of-ada") as ada:
            assert await ada.line() == "* here are Ada"
            assert re.fullmatch(r"m_\S+ connected", await server.line())
            assert await server.line() == "somebody is in 'tea'"
            assert await ada.line() == "the server: This is tea. Be kind to each other."
            async with run_example("chat_client.py", url, "tea", "Bob") as bob:
                assert await bob.line() == "* here are Ada, Bob"
                assert await ada.line() == "* Bob came"
                await bob.say("hello, Ada")
                assert await bob.line() == "Bob: hello, Ada"
                assert await ada.line() == "Bob: hello, Ada"
                await bob.end_stdin()
                assert await bob.wait() == 0
            assert await ada.line() == "* Bob left"
            server.terminate()
            assert "ended the connection" in await ada.line()
            assert await ada.wait() == 0
        assert await server.wait() == 0


async def test_the_chat_server_refuses_an_unknown_token() -> None:
    """With 401, before the upgrade; who has none is a guest, who has one a user."""
    async with run_example("chat_server.py", "0") as server:
        url = f"ws://127.0.0.1:{await port_in(server)}/ws"
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(url, headers=[("Authorization", "Bearer wrong")]):
                pass
        assert caught.value.status == 401
        async with open_websocket(url, headers=ADA) as ada, open_websocket(url) as guest:
            assert (await receive(ada, type="welcome"))["user"] == "ada"
            assert (await receive(guest, type="welcome"))["user"] is None


async def test_notifications_reach_all_of_one_user_and_nobody_else() -> None:
    """A line for ada goes to both her devices; a line for everyone to everyone, once."""
    async with run_example("notifications.py", "0") as program:
        url = f"ws://127.0.0.1:{await port_in(program)}/ws"
        async with (
            open_websocket(url, headers=ADA) as phone,
            open_websocket(url, headers=ADA) as laptop,
            open_websocket(url, headers=BOB) as bob,
        ):
            here = sorted([await program.line() for _ in range(3)])
            assert here == ["ada is here", "ada is here", "bob is here"]
            await program.say("ada: your parcel is here")
            await program.say("*: closing at six")
            await program.say("eve: anything")
            for device in (phone, laptop):
                parcel = await receive(device, type="message")
                assert parcel["data"] == {"notification": "your parcel is here"}
                assert parcel["room"].startswith("notifications-")
            for device in (phone, laptop, bob):
                closing = await receive(device, type="message")
                assert closing["data"] == {"notification": "closing at six"}
                assert closing["room"] == "$all"
            assert await program.line() == "there is no user 'eve'"
            await program.end_stdin()
            with pytest.raises(ConnectionClosed):
                await receive(bob, type="message")
        assert await program.wait() == 0


async def test_notifications_are_for_users_only() -> None:
    """Nobody comes in without a token."""
    async with run_example("notifications.py", "0") as program:
        url = f"ws://127.0.0.1:{await port_in(program)}/ws"
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(url):
                pass
        assert caught.value.status == 401


async def test_the_dashboard_shows_live_numbers_in_a_browser() -> None:
    """The page of another port may connect, and its numbers change from a dash to numbers."""

    def look(url: str) -> None:
        with Person() as person:
            person.driver.get(url)
            person.wait(lambda: person.texts("#state") == ["live"], "a live page")
            person.wait(lambda: person.texts("#watching") == ["1"], "one who watches")
            person.wait(lambda: person.texts("#cpu") != ["–"], "a number")
            float(person.texts("#cpu")[0])

    async with run_example("dashboard.py", "0", "0") as program:
        found = re.search(r"http://\S+", await program.line())
        assert found is not None
        await trio.to_thread.run_sync(look, found[0])


async def test_the_dashboard_lets_in_no_page_but_its_own() -> None:
    """Another origin is refused with 403."""
    async with run_example("dashboard.py", "0", "0") as program:
        found = re.search(r"port (\d+)", await program.line())
        assert found is not None
        with pytest.raises(CannotConnectError) as caught:
            async with open_websocket(
                f"ws://127.0.0.1:{found[1]}/ws", headers=[("Origin", "http://evil.example")]
            ):
                pass
        assert caught.value.status == 403


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
async def test_an_example_can_be_imported_without_running(path: object) -> None:
    """So that its `main` can be called by others."""
    script = f"import runpy; runpy.run_path({str(path)!r}, run_name='example')"
    async with run_example("-W", "error", "-c", script) as program:
        assert await program.wait() == 0
