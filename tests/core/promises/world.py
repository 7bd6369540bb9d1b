"""A sequential model of one room, and a world in which the real one does the same.

The model does each operation at once and to the end; what each member must
hear is then a list of lines. The real room gets the same operations as
commands, many of them in one turn, while sockets take a few bytes at a time,
and the loop goes round in the middle of its fan-outs.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeAlias, final

import attrs
import trio
from hypothesis import strategies as st

from roomactors.core.budget import SLICE_SECONDS
from roomactors.core.commands import Joined
from roomactors.core.hub import Hub
from roomactors.core.member import Member
from roomactors.core.outlet import LocalOutlet
from tests.core.fakes import Client, Outcome, Stopwatch, connect, line, settle

NAMES = ("ada", "bob", "eve", "fay")
LOCAL = "fay"
"""The one that is a member in this process."""

Step: TypeAlias = tuple[str, str, int]
"""What is done, by whom, and how."""

WHO = st.sampled_from(NAMES)
KINDS = (
    "join",
    "join",
    "leave",
    "say",
    "say",
    "quietly",
    "not to ada",
    "settle",
    "stall",
    "hang up",
)


def steps(*more: str, without: Sequence[str] = ()) -> st.SearchStrategy[list[Step]]:
    """Things that members of a room do."""
    kinds = [kind for kind in (*KINDS, *more) if kind not in without]
    return st.lists(st.tuples(st.sampled_from(kinds), WHO, st.integers(0, 60)), max_size=40)


ACCEPTS = st.lists(st.tuples(WHO, st.integers(1, 60)), max_size=30)
"""Whose socket takes how much more, one in each pass of the loop."""


@final
@attrs.define
class Model:
    """What one room's members must hear, each event done to the end before the next."""

    head: int = 0
    members: list[str] = attrs.field(factory=list)
    hear: dict[str, list[str]] = attrs.field(factory=lambda: {name: [] for name in NAMES})

    def join(self, who: str) -> None:
        again = who in self.members
        if not again:
            self.members.append(who)
        if not (again and who == LOCAL):
            self.hear[who].append(f"joined {self.head}: {' '.join(self.members)}")
        if not again:
            self.event(f"+{who}", not_to={who})

    def leave(self, who: str, reason: str = "left") -> None:
        if who in self.members:
            self.members.remove(who)
            self.hear[who].append(f"left: {reason}")
            self.event(f"-{who} {reason}", not_to={who})

    def say(self, who: str, words: str, not_to: set[str], *, volatile: bool = False) -> None:
        if who not in self.members:
            return
        if volatile:
            for member in set(self.members) - not_to - {LOCAL}:
                self.hear[member].append(f"~ {who}: {words}")
        else:
            self.event(f"{who}: {words}", not_to=not_to)

    def event(self, what: str, not_to: set[str]) -> None:
        self.head += 1
        for member in self.members:
            if member not in not_to:
                self.hear[member].append(f"{self.head} {what}")


@final
class World(trio.abc.Instrument):
    """The real room, the model, and sockets that take what they are told to.

    Args:
      hub: whose room "tea" it is.
      stopwatch: each write takes a slice, so that the loop goes round after it.
      accepts: what sockets take, one in each pass of the loop.
    """

    def __init__(
        self, hub: Hub, stopwatch: Stopwatch, accepts: Sequence[tuple[str, int]] = ()
    ) -> None:
        self.model = Model()
        self.past: list[tuple[list[str], list[str]]] = []
        """What those who hung up were to hear, and what they heard."""
        self._hub = hub
        self._stopwatch = stopwatch
        self._accepts = list(reversed(accepts))
        self._clients = {name: self._connect(name) for name in NAMES}
        self._seats: list[Outcome[Joined]] = []
        self._left: dict[Member, str] = {}
        self._said = 0

    def before_io_wait(self, timeout: float) -> None:
        """Between two passes: in the middle of a fan-out, as often as not."""
        if self._accepts:
            who, window = self._accepts.pop()
            outlet = self._clients[who].outlet
            if not isinstance(outlet, LocalOutlet):
                self._clients[who].peer.accept(window)

    async def do(self, step: Step) -> None:
        """Do one thing in the model, and send it to the room."""
        what, who, number = step
        client, model = self._clients[who], self.model
        self._said += 1
        words = f"{self._said}{'x' * number}"
        match what:
            case "join":
                model.join(who)
                outcome = client.join("tea", again=who != LOCAL)
                if who == LOCAL:
                    self._seats.append(outcome)
            case "leave":
                model.leave(who)
                client.leave("tea")
            case "say":
                model.say(who, words, set())
                client.say("tea", words)
            case "quietly":
                model.say(who, words, {who})
                client.say("tea", words, echo=False)
            case "not to ada":
                model.say(who, words, {"ada", "bob"})
                client.say("tea", words, excluded=frozenset({"ada", "bob", "nobody"}))
            case "volatile":
                model.say(who, words, {who, "ada"}, volatile=True)
                client.say("tea", words, echo=False, excluded=frozenset({"ada"}), volatile=True)
            case "settle":
                await settle()
            case "stall" if who != LOCAL:
                client.peer.window = number
            case "hang up" if who != LOCAL:
                await settle()
                model.leave(who, "disconnected")
                self.past.append((model.hear[who], client.peer.of("tea")))
                model.hear[who] = []
                client.hang_up()
                self._clients[who] = self._connect(who)
            case _:
                pass

    async def heard(self) -> dict[str, list[str]]:
        """What each has got once all sockets take everything."""
        await settle()
        for name in NAMES:
            if name != LOCAL:
                self._clients[name].peer.accept(None)
        got = {name: self._clients[name].peer.of("tea") for name in NAMES if name != LOCAL}
        return got | {LOCAL: self._read_locally()}

    def _connect(self, name: str) -> Client:
        if name == LOCAL:
            outlet = self._hub.keeper.hold_local_outlet(name, None)
            return Client(self._hub.keeper, outlet)
        client = connect(self._hub, name)
        client.peer.when_written = lambda: self._stopwatch.work(SLICE_SECONDS)
        return client

    def _read_locally(self) -> list[str]:
        got = []
        outlet = self._clients[LOCAL].outlet
        assert isinstance(outlet, LocalOutlet)
        for outcome in self._seats:
            if outcome.value is None:
                continue
            member = outcome.value.member
            got.append("joined")
            while (event := outlet.next_event(member)) is not None:
                got.append(line(event).removeprefix("tea "))
            if member.reason is not None:
                got.append(f"left: {member.reason}")
        return got


def plain(lines: Sequence[str]) -> list[str]:
    """What a member in this process must hear: it reads its arrival elsewhere."""
    return ["joined" if heard.startswith("joined") else heard for heard in lines]


def missing(must: Sequence[str], got: Sequence[str]) -> list[str]:
    """What of `must` is neither in `got` nor in a gap that `got` names; [] if all is in order."""
    lost = []
    rest = list(must)
    for heard in got:
        gap = re.match(r"gap (\d+)-(\d+)", heard)
        if gap is None:
            if heard not in rest:
                return [f"unexpected: {heard}"]
            place = rest.index(heard)
            lost += rest[:place]
            del rest[: place + 1]
        else:
            first, last = map(int, gap.groups())
            if first > last:
                return [f"empty: {heard}"]
            while rest and (number := re.match(r"(\d+) ", rest[0])) and int(number[1]) <= last:
                if int(number[1]) < first:
                    lost.append(rest[0])
                del rest[0]
    return lost + rest
