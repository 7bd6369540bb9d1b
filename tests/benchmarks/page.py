"""`docs/explanation/performance.md`, made of `bench.json`: no figure on it was typed by hand."""

# ruff: noqa: E501 - prose for a page, one sentence a line

import json
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.report import FILE, number
from tests.benchmarks.servers import ROOT

PAGE: Final = ROOT / "docs" / "explanation" / "performance.md"
IMAGES: Final = ROOT / "docs" / "images"

_BEFORE: Final = """\
# Performance

<!-- Made by `python -m tests.benchmarks`, from docs/images/bench.json: do not edit. -->

What it costs the server to reach everyone, beside two servers that were run in turn with it.
`make bench` measures all of it again on your machine, prints the tables with a progress bar, and makes this page and its pictures anew.

The *naive loop* is what tutorials teach: trio-websocket, a dict of sets, and one awaited `send_message` per member.
The *bare loop* does the least that a loop over sockets can: one non-blocking `send` of a ready frame per member and message, without a check or a bound.
Server and load are separate processes, and the load counts and compares every delivery: a lost, repeated, reordered or damaged one ends the run.
Ratios are of deliveries or messages per second of the *server's* processor time, since wall time on a shared machine says more about its neighbours.
What cannot be said per second of processor time, delays, needs a quiet machine; each table says how busy others were.
"""

_AFTER: Final = """\
## Why it is so

- **One write per member and turn.**
  A `send` costs several microseconds in the kernel, whoever calls it, and that is most of a delivery.
  While one message is in flight nothing can be saved, so there the bare loop is the measure.
  When more come than are sent, a turn takes all that wait, joins their frames once, and each member still gets one `send`: the more load, the less each delivery costs.
- **Nothing is made per member.**
  An event is encoded once per protocol, WebSocket framing included, and the same bytes go to everyone.
- **A member that does not read costs no copies.**
  It keeps the rest of one frame and a number; what it has missed is read from the room's log when it can take more.
- **One task reads all sockets.**
  A message that arrives costs no task switch and no change of what the loop waits for; in rooms of two that was a third of everything ([the reader](../../roomactors/server/reader.py)).
- **Ordinary upgrades are answered directly.**
  The answer is the same, byte for byte, as the library's that is used for all others ([why](why-not-trio-websocket-frames.md)).
- **Work is done in slices of a millisecond.**
  After each the loop looks at the sockets again, so a room of thousands does not hold up a room of two.
- **The server looks for reference cycles less often than Python does by default.**
  Messages make none.
  This is done by `roomactors serve`, never by the library.
"""


def made_of(scenarios: dict[str, Any]) -> str:
    """Return the page for what `bench.json` holds."""
    parts = [_BEFORE]
    for name, scenario in scenarios.items():
        origin = scenario["origin"]
        parts += [
            f"\n## {scenario['title']}\n",
            f"![{scenario['title']}](../images/bench-{name}.svg)\n",
            "| what | median | lowest | highest | wanted | |",
            "|---|---:|---:|---:|---|---|",
        ]
        for claim in scenario["claims"]:
            values = [number(claim["median"]), *map(number, _ends(claim["values"]))]
            cells = " | ".join(f"{value} {claim['unit']}" for value in values)
            wanted = f"{claim['better']} {claim['target']:g} {claim['unit']}"
            verdict = "met" if claim["met"] else "**missed**"
            parts.append(f"| {claim['text']} | {cells} | {wanted} | {verdict} |")
        host = origin["machine"]
        parts.append(
            f"\n{origin['date']}, {host['processor']}, {host['cores']} cores, "
            f"{origin['versions']['python']}, trio {origin['versions']['trio']}, "
            f"{origin['repetitions']} repetitions, others used {origin['others_percent']} % of the "
            f"cores: `{origin['command']}`\n"
        )
    parts.append("\n" + _AFTER)
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def _ends(values: list[float]) -> tuple[float, float]:
    return min(values), max(values)


def write(images: Path = IMAGES, page: Path = PAGE) -> None:
    """Write the page."""
    page.write_text(made_of(json.loads((images / FILE).read_text())))
