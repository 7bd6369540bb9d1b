"""What the page makes of all that a server may say, with a server that says it on command."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.pages.browser import Person
from tests.pages.scripted import ME, Peer, Scripted, entry, open_scripted


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    """A server that waits for its words; a new one, which no earlier page still comes back to."""
    with open_scripted() as server:
        yield server


def _enter(person: Person, scripted: Scripted, seq: int = 0, *others: str) -> Peer:
    person.open(scripted.url, "tea")
    person.enter("Ada")
    peer = scripted.accept()
    assert person.find("body").get_dom_attribute("data-state") == "connecting"
    peer.welcome(seq, *others)
    person.wait_state("live")
    return peer


def _message(peer: Peer, seq: int, data: object, sender: str | None = "m_Bob") -> None:
    fields = {"room": "tea", "seq": seq, "from": sender, "at": 1_700_000_000_000, "data": data}
    peer.tell("message", **fields)


def test_own_messages_stand_where_the_room_has_them(ada: Person, scripted: Scripted) -> None:
    """An ack before or after the event, and before others' events, leads to one order."""
    peer = _enter(ada, scripted, 0, "Bob")
    ada.say("first")
    first = peer.hear("broadcast")
    ada.say("second")
    second = peer.hear("broadcast")
    assert first["data"] == "first"
    peer.tell("ack", ref=second["ref"], room="tea", epoch="e", seq=4)  # acks may come early
    _message(peer, 1, "Bob's first")
    _message(peer, 2, "first", ME)
    peer.tell("ack", ref=first["ref"], room="tea", epoch="e", seq=2)
    _message(peer, 3, "Bob's second")
    _message(peer, 4, "second", ME)
    _message(peer, 5, {"text": "Bob's third"})
    ada.wait_messages("Bob's first", "first", "Bob's second", "second", "Bob's third")
    assert ada.undelivered == []
    assert ada.texts("#log .own .text") == ["first", "second"]


def test_a_message_that_came_back_before_the_loss_did_arrive(
    ada: Person, scripted: Scripted
) -> None:
    """Without its ack, but with the event itself, nobody needs to be asked."""
    peer = _enter(ada, scripted)
    ada.say("arrived")
    peer.hear("broadcast")
    ada.say("unknown")
    peer.hear("broadcast")
    _message(peer, 1, "arrived", ME)
    peer.close(1011)
    ada.wait_state("reconnecting")
    ada.wait_messages("arrived")
    assert ada.undelivered == ["unknown"]
    ada.press("Discard")
    assert ada.undelivered == []


def test_a_gap_is_a_divider_and_the_roster_is_asked_for_anew(
    ada: Person, scripted: Scripted
) -> None:
    """Who left within the gap is gone, and who came within it is there."""
    peer = _enter(ada, scripted, 0, "Bob")
    fields = {"room": "tea", "epoch": "e", "from": 1, "to": 40, "reason": "lagged", "roster": True}
    peer.tell("gap", **fields)
    asked = peer.hear("members")
    peer.tell("member_joined", room="tea", seq=42, member="m_Dora", info={"name": "Dora"})
    peer.tell("member_left", room="tea", seq=43, member="m_Fred", reason="left")
    peer.tell("member_left", room="tea", seq=44, member="m_Gus", reason="left")
    people = [entry(ME, "Ada"), entry("m_Carl", "Carl")]
    page = {"room": "tea", "epoch": "e", "seq": 41, "members": people, "count": 5}
    peer.tell("members", ref=asked["ref"], members_next="next", **page)
    asked = peer.hear("members")
    assert asked["after"] == "next"
    page["members"] = [entry(f"m_{name}", name) for name in ("Emil", "Fred", "Gus")]
    peer.tell("members", ref=asked["ref"], **page)
    ada.wait_roster("Ada", "Carl", "Dora", "Emil")
    # Of the five people of the page two have left since, and Dora has come.
    assert ada.texts("#side .count") == ["4"]
    assert ada.texts("#log .break") == ["Some messages were missed (seq 1–40)"]


def test_a_roster_is_not_changed_by_what_is_older_than_itself(
    ada: Person, scripted: Scripted
) -> None:
    """Membership events at or below the seq of `joined` are history."""
    peer = _enter(ada, scripted, 7, "Bob")
    peer.tell("member_left", room="tea", seq=7, member="m_Bob", reason="left")
    peer.tell("member_joined", room="tea", seq=6, member="m_Zoe", info={"name": "Zoe"})
    peer.tell("member_joined", room="tea", seq=8, member="m_Carl", info={"name": "Carl"})
    ada.wait_roster("Ada", "Bob", "Carl")
    peer.tell("member_info", room="tea", seq=9, member="m_Carl", info={"name": "Charles"})
    ada.wait_roster("Ada", "Bob", "Charles")
    fields = {"room": "tea", "from": 10, "seq": 30, "count": 3}
    come, gone = [entry("m_Dora", "Dora")], [{"member": "m_Bob", "reason": "left"}]
    peer.tell("presence", joined=come, left=gone, **fields)
    ada.wait_roster("Ada", "Charles", "Dora")
    assert ada.texts("#side .count") == ["3"]
    assert ada.texts("#log .line")[1:] == [
        "Carl joined",
        "Carl is now called Charles",
        "Dora joined",
        "Bob left",
    ]


def test_a_new_epoch_voids_the_roster(ada: Person, scripted: Scripted) -> None:
    """An unasked `joined` begins the room anew."""
    peer = _enter(ada, scripted, 5, "Bob")
    again = {"room": "tea", "member": ME, "epoch": "f", "seq": 0, "policy": "gap", "count": 1}
    peer.tell("joined", members=[entry(ME, "Ada")], **again)
    ada.wait_roster("Ada")
    assert len(ada.texts("#log .break")) == 1
    assert "began anew" in ada.texts("#log .break")[0]


def test_a_close_that_is_final_is_explained_and_left_to_the_person(
    ada: Person, scripted: Scripted
) -> None:
    """The page says why, does not come back by itself, and has a button that does."""
    peer = _enter(ada, scripted)
    for code in (1000, 1002, 1003, 1007, 1008, 1009, 4001, 4002, 4003, 4009):
        peer.close(code)
        ada.wait_state("failed")
        assert ada.banner.strip().endswith(".")
        ada.press("Try again")
        peer = scripted.accept()
        peer.welcome(0)
        ada.wait_state("live")
        assert ada.banner == ""


@pytest.mark.parametrize("code", [1001, 1012, 4008])
def test_a_close_that_passes_is_followed_by_another_try(
    ada: Person, scripted: Scripted, code: int
) -> None:
    """The page comes back by itself, and says what it does not show."""
    peer = _enter(ada, scripted)
    peer.close(code)
    ada.wait_state("reconnecting")
    scripted.accept().welcome(0)
    ada.wait_state("live")
    assert ada.texts("#log .break") == ["Reconnected; what was said in between is not shown"]


def test_the_page_stays_away_as_long_as_the_server_asked_for(
    ada: Person, scripted: Scripted
) -> None:
    """What is written after `closing` waits, and so does the next try, unless it is told to try."""
    peer = _enter(ada, scripted)
    peer.tell("closing", reason="restart", reconnect_after=3600)
    ada.wait_text("#banner", "about to restart")
    ada.say("later")
    ada.wait_text("#outbox .fate", "Waiting for the connection")
    peer.close(1012)
    ada.wait_state("reconnecting")
    assert ada.banner.startswith("The server is restarting. Trying again in 3")
    assert ada.undelivered == ["later"]
    ada.press("Try now")
    peer = scripted.accept()
    peer.welcome(0)
    assert peer.hear("broadcast")["data"] == "later"


def test_leaving_a_room_against_ones_will_is_explained(ada: Person, scripted: Scripted) -> None:
    """A `left` that nobody asked for ends in the failed state."""
    peer = _enter(ada, scripted)
    peer.tell("left", room="tea", reason="kicked")
    ada.wait_state("failed")
    assert "removed from this room" in ada.banner


def test_refusals_and_what_the_server_says_are_shown(ada: Person, scripted: Scripted) -> None:
    """An error of no message is a line, and a message to everyone names the server."""
    peer = _enter(ada, scripted)
    peer.tell("error", code="internal", message="the server failed at this")
    ada.wait_text("#log .line.bad", "The server failed at this.")
    fields = {"room": "$all", "seq": 90, "from": None, "at": 1_700_000_000_000}
    peer.tell("message", data="Tea at five.", **fields)
    peer.tell("gap", room="$all", epoch="a", reason="lagged", **{"from": 91, "to": 92})
    peer.tell("direct", room="tea", data={"a": [1, "<b>"]}, **{"from": "m_Bob"})
    ada.wait_messages("Tea at five.", '{"a":[1,"<b>"]}')
    assert ada.texts("#log .aside") == ["to everyone", "only to you"]
    assert ada.texts("#log .name")[0] == "Server"
    assert ada.texts("#log .break") == ["Some messages to everyone were missed (seq 91–92)"]


def test_a_silent_connection_is_asked_for_a_sign_of_life_and_then_given_up(
    ada: Person, scripted: Scripted
) -> None:
    """After the heartbeat and 10 s the page pings; an answer keeps it, 10 s without one do not."""
    peer = _enter(ada, scripted)
    _bend_time(ada)
    ada.driver.execute_script("window.ahead = 36000")
    peer.hear("ping")
    peer.tell("pong")
    ada.driver.execute_script("window.ahead = 72000")
    peer.hear("ping")
    assert ada.texts("#state-text") == ["Live"]
    ada.driver.execute_script("window.ahead = 83000")
    ada.wait_state("reconnecting")
    scripted.accept().welcome(0)
    ada.wait_state("live")


def test_after_twelve_tries_in_vain_a_person_decides(ada: Person) -> None:
    """The page does not knock for ever at a server that is gone, but it can be told to."""
    with open_scripted() as scripted:
        _enter(ada, scripted)
        _bend_time(ada)
    ada.wait_state("failed")  # the server's last word is 1000
    ada.press("Try again")
    ada.wait_state("reconnecting")
    ada.driver.execute_script("setInterval(() => (window.ahead += 31000), 50)")
    ada.wait_state("failed")
    assert "The server cannot be reached." in ada.banner
    ada.press("Try again")
    ada.wait_state("reconnecting")


def _bend_time(person: Person) -> None:
    """Let the page's clock be `window.ahead` ms ahead of the true one."""
    person.driver.execute_script(
        "window.ahead = 0; const now = performance.now.bind(performance);"
        "performance.now = () => now() + window.ahead"
    )
