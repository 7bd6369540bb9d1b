"""`python -m tests.docs.generate` writes the pages of the reference that are made from the code."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from roomactors import HubSettings, RoomSettings, ServerSettings
from roomactors.cli import _parser
from tests.docs.catalogue import Bound, argument_bounds, constant_bounds, settings_bounds

ROOT: Final = Path(__file__).parents[2]

_NOTE: Final = "<!-- Written by `python -m tests.docs.generate`; do not edit. -->\n"

_BOUNDS: Final = f"""\
# Every bound

{_NOTE}
Each queue, size, rate, count and wait has a limit, and each limit has a reason.
What is said under *one over* is what a test finds there: \
it drives each of these to its limit, and one over.
How to set them: [set limits](../howto/set-limits.md).
A limit that 0 turns off says so; for all others the \
smallest value is checked when the settings are made.
Close codes and error codes are explained in [errors](errors.md).
"""

_COMMAND_LINE: Final = f"""\
# The command line

{_NOTE}
`roomactors` and `python -m roomactors` are the same program.
A mistake in the options is answered with one sentence on stderr and exit status 2.
"""

_AFTER_SERVE: Final = """\
When it accepts connections it prints one line to stdout, with the URL to open:

```text
roomactors serves http://127.0.0.1:8000/
```

The first SIGINT or SIGTERM drains: nobody new is let in, every client is told \
with `closing`, what the rooms have taken goes out, and the \
connections are closed with 1012.
A second signal ends it at once.
It raises its own limit of open files to what the system allows, since each connection is one.

| exit status | when |
|---|---|
| 0 | it drained |
| 2 | an option is wrong, or the address cannot be had |
| 128 + the signal's number | a second signal ended it |
"""

_AFTER_JOIN: Final = """\
What you type is broadcast line by line, and what the others say is printed; \
lines that begin with `*` are news of the room.
A URL without a path gets `/ws`, one without a scheme gets `ws://`, \
and `http` and `https` mean `ws` and `wss`.
What others wrote is printed without control characters, so that nobody can steer your terminal.

| exit status | when |
|---|---|
| 0 | stdin ended |
| 1 | the server ended the connection, or refused the room |
| 2 | the URL is none, or the server could not be reached or said no |
| 130 | Ctrl-C |
"""

_AFTER: Final = {"serve": _AFTER_SERVE, "join": _AFTER_JOIN}


def bounds_page() -> str:
    """The table of all bounds."""
    sections = (
        ("Of a room", "Fields of `RoomSettings`.", settings_bounds(RoomSettings)),
        ("Of a hub", "Fields of `HubSettings`.", settings_bounds(HubSettings)),
        ("Of the server", "Fields of `ServerSettings`.", settings_bounds(ServerSettings)),
        ("Of the connection manager", "Arguments.", argument_bounds()),
        ("That cannot be changed", "Part of the protocols, or of their safety.", constant_bounds()),
    )
    return "\n".join([_BOUNDS, *(_section(*section) for section in sections)])


def _section(title: str, what: str, bounds: Iterable[Bound]) -> str:
    lines = [
        f"## {title}",
        "",
        what,
        "",
        "| bound | default | why | one over |",
        "|---|---|---|---|",
    ]
    for bound in bounds:
        name = f"`{bound.name.rpartition('.')[2]}`"
        if bound.flag:
            name += f"<br>`{bound.flag}`"
        cells = (name, _amount(bound.default, bound.unit), bound.reason, bound.over)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _amount(number: float, unit: str) -> str:
    exact = f"{number:,}".removesuffix(".0")
    for size, name in ((1024 * 1024, "MiB"), (1024, "KiB")):
        if unit == "bytes" and number >= size:
            return f"{number / size:g} {name} ({exact} bytes)"
    return f"{exact} {unit}"


def command_line_page() -> str:
    """The options of each command."""
    parser = _parser()
    lines = [_COMMAND_LINE, "| option | meaning |", "|---|---|"]
    lines += ["| `--help` | what there is |", "| `--version` | print the version |"]
    for name, command in _commands(parser):
        lines += ["", f"## roomactors {name}", "", _sentences(str(command.description)), ""]
        lines += [f"```text\n{_usage(name, command)}\n```"]
        for title, actions in _groups(command):
            heading = title[:1].upper() + title[1:]
            lines += ["", f"### {heading}", "", "| | meaning |", "|---|---|"]
            lines += [_row(action) for action in actions]
        lines += ["", _AFTER[name].rstrip()]
    return "\n".join(lines) + "\n"


def _sentences(text: str) -> str:
    """Each on a line of its own."""
    return re.sub(r"(?<=\.) (?=[A-Z])", "\n", text)


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    # argparse shows what it knows in its help alone, whose layout changes with
    # Python's version and the width of the terminal.
    for action in parser._actions:
        choices = action.choices
        if isinstance(choices, dict):
            yield from choices.items()


def _groups(command: argparse.ArgumentParser) -> Iterator[tuple[str, list[argparse.Action]]]:
    for group in command._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions:
            # Python's own word for them is of no use to who reads.
            yield (
                "arguments" if group.title == "positional arguments" else str(group.title),
                actions,
            )


def _usage(name: str, command: argparse.ArgumentParser) -> str:
    operands = [
        str(action.metavar or action.dest)
        for action in command._actions
        if not action.option_strings
    ]
    return " ".join(["roomactors", name, "[OPTIONS]", *operands])


def _row(action: argparse.Action) -> str:
    metavar = str(action.metavar or action.dest.upper())
    if not action.option_strings:
        left = metavar
    elif action.nargs == 0:
        left = ", ".join(action.option_strings)
    else:
        left = ", ".join(f"{option} {metavar}" for option in action.option_strings)
    meaning = (action.help or "") % {**vars(action), "prog": "roomactors"}
    return f"| `{left}` | {meaning} |".replace("\n", " ")


PAGES: Final[dict[str, Callable[[], str]]] = {
    "docs/reference/bounds.md": bounds_page,
    "docs/reference/command-line.md": command_line_page,
}
"""Each generated page, and what makes it."""


def main() -> None:
    """Write all of them."""
    for path, make in PAGES.items():
        (ROOT / path).write_text(make())
        print(path)


if __name__ == "__main__":
    main()
