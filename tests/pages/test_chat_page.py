"""Two people chat in Chromium through the real server, which stops and starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.browser import Person
from tests.pages.served import Served

MARKUP = "<img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A running server."""
    with Served() as server:
        yield server


def test_two_people_chat_and_go_on_after_the_server_was_restarted(
    ada: Person, grace: Person, served: Served
) -> None:
    """What was said is there once, what was written meanwhile is delivered, the roster is right."""
    ada.join(served.url, "tea", "Ada")
    grace.join(served.url, "tea", "Grace")
    ada.wait_roster("Ada", "Grace")
    grace.wait_roster("Grace", "Ada")
    ada.say("Is the kettle on?")
    grace.wait_messages("Is the kettle on?")
    grace.say("It is.")
    ada.wait_messages("Is the kettle on?", "It is.")

    served.terminate()
    ada.wait_state("reconnecting")
    grace.wait_state("reconnecting")
    assert served.wait() == 0
    ada.say("Two cups, please.")
    assert ada.undelivered == ["Two cups, please."]
    assert ada.texts("#outbox .fate") == ["Waiting for the connection"]
    # There is no history yet: who comes back after a message does not get it. So Grace is first.
    ada.set_offline(True)
    served.start()
    grace.wait_state("live")
    assert ada.find("body").get_dom_attribute("data-state") == "reconnecting"
    ada.set_offline(False)
    ada.wait_state("live")

    said = ["Is the kettle on?", "It is.", "Two cups, please."]
    grace.wait_messages(*said)
    ada.wait_messages(*said)
    ada.wait_roster("Ada", "Grace")
    grace.wait_roster("Grace", "Ada")
    grace.say("Here you are.")
    ada.wait_messages(*said, "Here you are.")
    grace.wait_messages(*said, "Here you are.")
    for person in (ada, grace):
        assert person.undelivered == []
        assert person.texts("#log .break") == ["Reconnected; what was said in between is not shown"]


def test_a_message_that_was_never_confirmed_is_left_to_the_person(
    ada: Person, served: Served
) -> None:
    """It may have arrived before the server died, so the page does not send it again by itself."""
    ada.join(served.url, "doubt", "Ada")
    served.freeze()
    ada.say("Did you hear that?")
    assert ada.texts("#outbox .fate") == ["Sending…"]
    served.kill()
    ada.wait_state("reconnecting")
    served.start()
    ada.wait_state("live")
    ada.say("Hello?")
    ada.wait_messages("Hello?")
    assert ada.undelivered == ["Did you hear that?"]
    ada.wait_text("#outbox .fate", "may or may not have arrived")
    ada.press("Send again")
    ada.wait_messages("Hello?", "Did you hear that?")
    assert ada.undelivered == []


def test_what_others_write_is_only_ever_text(ada: Person, grace: Person, served: Served) -> None:
    """Markup in a message, in a name and in the name of a room is shown as it is."""
    room, name = "<b>bold</b>", "<i>Ada</i>"
    ada.join(served.url, "%3Cb%3Ebold%3C/b%3E", name)
    grace.join(served.url, "%3Cb%3Ebold%3C/b%3E", "Grace")
    grace.wait_roster("Grace", name)
    ada.say(MARKUP)
    grace.wait_messages(MARKUP)
    ada.wait_messages(MARKUP)
    for person in (ada, grace):
        assert person.texts("#title") == [room]
        assert person.driver.title == f"{room} · roomactors"
        assert person.texts("#chat b, #chat i, #chat img, #chat script") == []


def test_two_people_of_one_name_can_be_told_apart(
    ada: Person, grace: Person, served: Served
) -> None:
    """Both bear the end of their id as long as both are there, in the roster and at messages."""
    ada.join(served.url, "names", "Ada")
    grace.join(served.url, "names", "ada")
    ada.wait_roster("Ada", "ada")
    grace.wait_roster("ada", "Ada")
    shown = ada.texts("#roster .tag:not([hidden])")
    assert len(set(shown)) == 2
    grace.say("It is me.")
    ada.wait_messages("It is me.")
    assert ada.texts("#log .tag:not([hidden])") == [shown[1]]
    grace.press("Leave")
    ada.wait_roster("Ada")
    assert ada.texts("#roster .tag:not([hidden])") == []


def test_a_reader_who_scrolled_up_stays_there_and_is_told(
    ada: Person, grace: Person, served: Served
) -> None:
    """A new message does not move the page; a button says that it came and leads to it."""
    ada.join(served.url, "scroll", "Ada")
    grace.join(served.url, "scroll", "Grace")
    ada.wait_roster("Ada", "Grace")
    long = "\n".join(["a line"] * 80)
    ada.find("#text").click()
    ada.driver.execute_script("document.activeElement.value = arguments[0]", long)
    ada.press("Send")
    grace.wait_messages(long)
    assert grace.driver.execute_script("return scroller.scrollTop > 0")
    grace.driver.execute_script("scroller.scrollTop = 0")
    # The browser tells the page of it with the next frame.
    grace.driver.execute_async_script(
        "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
    )
    ada.say("The end.")
    grace.wait_text("#pill:not([hidden])", "1 new message")
    assert grace.driver.execute_script("return scroller.scrollTop") == 0
    assert grace.driver.title == "(1) scroll · roomactors"
    grace.press("1 new message ↓")
    grace.wait(lambda: grace.texts("#pill:not([hidden])") == [], "no button")
    assert grace.driver.execute_script(
        "return scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 2"
    )


@pytest.mark.parametrize("state", ["setup", "live"])
def test_nothing_is_wider_than_a_narrow_window(grace: Person, served: Served, state: str) -> None:
    """At 320 pixels nothing has to be scrolled sideways, whatever is said."""
    grace.open(served.url, "narrow")
    if state == "live":
        grace.enter("N" * 40)
        grace.wait_state("live")
        grace.say("w" * 300)
        grace.wait_messages("w" * 300)
    assert grace.driver.execute_script("return document.documentElement.scrollWidth") == 320


def test_the_limits_of_a_server_are_shown_as_sentences(ada: Person, grace: Person) -> None:
    """A message too long is not sent, one too many is left to its writer, a full room fails."""
    options = ("--max-message-bytes", "300", "--broadcasts-per-second", "1", "--max-members", "1")
    with Served(*options) as strict:
        ada.join(strict.url, "tea", "Ada")
        ada.say("x" * 300)
        ada.wait_text("#limit", "Too long by ")
        assert ada.messages == []
        ada.find("#text").clear()
        for number in range(10):
            ada.say(f"{number}")
        ada.wait_text("#outbox .fate", "Not delivered.")
        grace.open(strict.url, "tea")
        grace.enter("Grace")
        grace.wait_state("failed")
        assert "full" in grace.banner
        ada.press("Leave")
        ada.driver.switch_to.alert.accept()  # there are undelivered messages
        ada.wait_state("setup")
        grace.press("Try again")
        grace.wait_state("live")
        grace.wait_roster("Grace")
