"""Who is present in a room, in the order in which they came. Pure: no trio."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import islice
from typing import final

from roomactors.core.member import Member


@final
class Roster:
    """The members of one room by their ids, each with a number that rises with every join."""

    __slots__ = ("_by_id", "_by_number", "_next", "_numbers")

    def __init__(self) -> None:
        self._by_id: dict[str, Member] = {}
        self._by_number: dict[int, Member] = {}
        self._numbers: list[int] = []
        self._next = 1

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Member]:
        return iter(self._by_id.values())

    def get(self, member: str) -> Member | None:
        """The member with this id; None if nobody has it."""
        return self._by_id.get(member)

    def add(self, member: Member) -> None:
        """Take in a member whose id nobody has, and give it its number."""
        assert member.id not in self._by_id
        member.number = self._next
        self._next += 1
        self._by_id[member.id] = member
        self._by_number[member.number] = member
        self._numbers.append(member.number)

    def remove(self, member: Member) -> None:
        """Take out exactly this member: not another that has come under its id."""
        assert self._by_id.get(member.id) is member
        del self._by_id[member.id]
        del self._by_number[member.number]
        del self._numbers[bisect_right(self._numbers, member.number) - 1]

    def page(self, after: int, limit: int) -> tuple[list[Member], int | None]:
        """At most `limit` members that came after the one numbered `after`, and where to go on.

        Args:
          after: 0, or what an earlier page gave to go on from; that member
            may have left since.
          limit: members, at least 1.

        Returns:
          The members in join order, and the number for the next page, or None
          if this was the last.
        """
        start = bisect_right(self._numbers, after)
        numbers = list(islice(self._numbers, start, start + limit))
        more = start + limit < len(self._numbers)
        return [self._by_number[n] for n in numbers], (numbers[-1] if more else None)
