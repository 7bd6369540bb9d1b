"""Who is present, in the order of joining."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomactors.core.log import Log
from roomactors.core.member import Member, MemberView
from roomactors.core.outlet import LocalOutlet
from roomactors.core.roster import Roster
from roomactors.core.settings import RoomSettings


def member(name: str) -> Member:
    outlet = LocalOutlet(name, None, volatile_queue=1)
    return Member(MemberView(member=name), outlet, Log("tea", "e1", RoomSettings()))


def ids(members: list[Member]) -> list[str]:
    return [member.id for member in members]


def test_an_id_is_taken_once() -> None:
    """Two members of one id would be told apart by nobody."""
    roster = Roster()
    roster.add(member("ada"))
    with pytest.raises(AssertionError):
        roster.add(member("ada"))


def test_only_the_very_member_is_taken_out() -> None:
    """A late removal of an earlier member of the same id is a bug, and says so."""
    roster = Roster()
    first, second = member("ada"), member("ada")
    roster.add(first)
    roster.remove(first)
    roster.add(second)
    with pytest.raises(AssertionError):
        roster.remove(first)
    assert roster.get("ada") is second


def test_pages_go_on_where_the_last_one_ended_whoever_has_left() -> None:
    """A page's last member may be gone when the next page is asked for."""
    roster = Roster()
    members = [member(name) for name in "abcdef"]
    for one in members:
        roster.add(one)
    page, after = roster.page(0, 2)
    assert ids(page) == ["a", "b"]
    roster.remove(members[1])
    roster.remove(members[2])
    assert after is not None
    page, after = roster.page(after, 2)
    assert ids(page) == ["d", "e"]
    assert after is not None
    assert (ids(roster.page(after, 2)[0]), roster.page(after, 2)[1]) == (["f"], None)


def test_a_page_that_ends_the_roster_is_the_last() -> None:
    """A full page is no sign that there is more."""
    roster = Roster()
    for name in "ab":
        roster.add(member(name))
    assert roster.page(0, 2)[1] is None
    assert roster.page(0, 1)[1] is not None
    assert Roster().page(0, 1) == ([], None)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=60), st.integers(1, 4))
def test_a_roster_is_a_list_without_repeats(steps: list[tuple[bool, int]], limit: int) -> None:
    """Joins and leaves in any order leave what a list would, whole and in pages."""
    roster = Roster()
    model: list[Member] = []
    for joins, number in steps:
        present = roster.get(str(number))
        assert (present is not None) == (str(number) in ids(model))
        if joins and present is None:
            model.append(member(str(number)))
            roster.add(model[-1])
        elif not joins and present is not None:
            model.remove(present)
            roster.remove(present)
    assert list(roster) == model
    assert len(roster) == len(model)
    paged: list[Member] = []
    after: int | None = 0
    while after is not None:
        page, after = roster.page(after, limit)
        assert len(page) <= limit
        paged += page
    assert paged == model
