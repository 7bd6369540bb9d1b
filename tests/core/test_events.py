"""What members hear: frozen values that nobody can spoil for the others."""

from __future__ import annotations

import attrs
import pytest

from roomactors.core.events import Gap, MemberInfo, MemberJoined, MemberLeft, Message
from roomactors.core.member import MemberView
from tests.core.fakes import message, text

JOINED = MemberJoined(room="tea", seq=1, member="ada", info_payload=text("i"))
LEFT = MemberLeft(room="tea", seq=2, member="ada", reason="left")
INFO = MemberInfo(room="tea", seq=3, member="ada", info_payload=text("jj"))


def test_data_and_info_are_read_from_what_was_frozen() -> None:
    """Whoever made it decides what value that is."""
    assert message(1, "hello").data == "hello"
    assert (JOINED.info, INFO.info, MemberView(member="a", info_payload=text("k")).info) == (
        "i",
        "jj",
        "k",
    )


def test_no_info_is_none() -> None:
    """Who says nothing of itself has None."""
    assert MemberJoined(room="tea", seq=1, member="ada").info is None
    assert MemberInfo(room="tea", seq=1, member="ada", info_payload=None).info is None
    assert MemberView(member="ada").info is None


@pytest.mark.parametrize("event", [JOINED, LEFT, INFO])
def test_a_membership_change_is_not_for_the_one_it_is_about(
    event: MemberJoined | MemberLeft | MemberInfo,
) -> None:
    """It learns of its own joins and leaves by their replies."""
    assert event.excluded == {"ada"}


def test_an_event_counts_the_bytes_of_its_data() -> None:
    """UTF-8, as it travels."""
    assert [event.data_size for event in (message(1, "é"), JOINED, LEFT, INFO)] == [2, 1, 0, 2]
    assert attrs.evolve(JOINED, info_payload=None).data_size == 0
    assert attrs.evolve(INFO, info_payload=None).data_size == 0


def test_a_gap_accounts_for_all_up_to_its_last() -> None:
    """Its `seq` is what a reader has, having read it."""
    assert Gap(room="tea", epoch="e1", first=2, last=5).seq == 5


def test_an_event_cannot_be_changed() -> None:
    """All members get the same object."""
    event: Message = message(1)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.room = "coffee"  # type: ignore[misc]
