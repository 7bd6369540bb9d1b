"""Pictures of what was measured, as SVG on a light ground; only this module imports matplotlib."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.benchmarks.bench_pairs import COLUMNS
from tests.benchmarks.plan import Claim, Results
from tests.benchmarks.quantiles import median
from tests.benchmarks.report import Origin, number, origin_line
from tests.benchmarks.servers import BARE, NAIVE, OURS, SERVERS, Server

_COLOURS: Final = {OURS.name: "#1f6feb", BARE.name: "#8a8f98", NAIVE.name: "#c9a227"}
_INK: Final = "#24292f"
_GOOD: Final = "#1a7f37"
_BAD: Final = "#cf222e"

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",  # text stays text: small, and it can be searched
        "svg.hashsalt": "roomactors",  # the same numbers draw the same file
        "font.family": "sans-serif",
        "font.sans-serif": ["Helvetica", "Arial", "DejaVu Sans"],
        "font.size": 11,
        "text.color": _INK,
        "axes.labelcolor": _INK,
        "axes.edgecolor": "#afb8c1",
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
    }
)


def _save(figure: Figure, title: str, where: Origin, path: Path) -> None:
    figure.suptitle(title, x=0.01, y=0.985, ha="left", fontsize=14, fontweight="bold")
    words = origin_line(where).split("; ")
    lines = "; ".join(words[:2]) + "\n" + "; ".join(words[2:])
    figure.text(0.01, 0.015, lines, fontsize=8, color="#57606a", va="bottom")
    figure.savefig(path, facecolor="white", metadata={"Date": None})


def _bars(
    axes: Axes, title: str, names: Sequence[str], values: Sequence[list[float]], colours: list[str]
) -> None:
    """Draw medians as bars, with the span of the repetitions."""
    middle = [median(each) for each in values]
    spans = [
        [value - min(each) for value, each in zip(middle, values, strict=True)],
        [max(each) - value for value, each in zip(middle, values, strict=True)],
    ]
    places = list(range(len(names)))[::-1]
    axes.barh(places, middle, color=colours, height=0.62, xerr=spans, ecolor=_INK)
    axes.set_yticks(places, names)
    axes.set_title(title)
    axes.set_xlim(0, max(1, *(max(each) for each in values)) * 1.32)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: number(value) if value else "0")
    for place, value, each in zip(places, middle, values, strict=True):
        axes.annotate(
            number(value), (max(each), place), (6, 0), textcoords="offset points", va="center"
        )


def _by_server(axes: Axes, title: str, results: Results, name: str, variant: str = "") -> None:
    found = [
        (server, values) for server in SERVERS if (values := results.values(server, variant, name))
    ]
    _bars(
        axes,
        title,
        [server.name for server, _ in found],
        [values for _, values in found],
        [_COLOURS[server.name] for server, _ in found],
    )


def fanout(results: Results, where: Origin, path: Path) -> None:
    """Draw fan-out with one message in flight: what it costs, and how long it takes."""
    figure = Figure(figsize=(9, 4.0))
    left, right = figure.subplots(1, 2)
    _by_server(left, "deliveries per server CPU-second", results, "rate")
    _by_server(right, "to the last member, p99, ms", results, "p99_ms")
    figure.tight_layout(rect=(0, 0.09, 1, 0.94))
    _save(figure, "1,000 members, one message in flight", where, path)


def ahead(results: Results, where: Origin, path: Path) -> None:
    """Draw fan-out with publishers ahead."""
    variants = list(dict.fromkeys(variant for _, variant in results.of))
    figure = Figure(figsize=(9, 1.2 + 2.0 * len(variants)))
    for axes, variant in zip(
        figure.subplots(len(variants), 1, squeeze=False)[:, 0], variants, strict=True
    ):
        title = f"deliveries per server CPU-second, {variant}"
        _by_server(axes, title, results, "rate", variant)
    figure.tight_layout(rect=(0, 0.08, 1, 0.95))
    _save(figure, "1,000 members, publishers ahead of the server", where, path)


def stalled(results: Results, where: Origin, path: Path) -> None:
    """Draw what a member that never reads does to the others and to the server's memory."""
    figure = Figure(figsize=(9, 4.0))
    left, right = figure.subplots(1, 2)
    colours = ["#8a8f98", _COLOURS[OURS.name], "#0a3069"]
    calm, silent = "all read", "one silent"
    _bars(
        left,
        "p99 of those who read, ms",
        ["all read", "one silent", "… until cut off"],
        [
            results.values(OURS, calm, "p99_ms"),
            results.values(OURS, silent, "p99_ms"),
            results.values(OURS, silent, "early_p99_ms"),
        ],
        colours,
    )
    _bars(
        right,
        "growth of the server's memory, MiB",
        ["all read", "one silent"],
        [results.values(OURS, variant, "growth_mib") for variant in (calm, silent)],
        colours[:2],
    )
    figure.tight_layout(rect=(0, 0.09, 1, 0.94))
    _save(figure, "One of 1,000 members stops reading", where, path)


def pairs(results: Results, where: Origin, path: Path) -> None:
    """Draw rooms of two: messages, joins, memory."""
    figure = Figure(figsize=(9, 6.2))
    for axes, (title, name) in zip(
        figure.subplots(3, 1),
        (
            ("messages per server CPU-second", "rate"),
            ("joins per server CPU-second", "joins"),
            ("KiB of server memory by joined member", "kib_each"),
        ),
        strict=True,
    ):
        found = [
            (label, server, values)
            for label, server, variant in COLUMNS
            if (values := results.values(server, variant, name))
        ]
        _bars(
            axes,
            title,
            [label for label, _, _ in found],
            [values for _, _, values in found],
            [_COLOURS[server.name] for _, server, _ in found],
        )
    figure.tight_layout(rect=(0, 0.06, 1, 0.96))
    _save(figure, "500 rooms of two", where, path)


_SHARES: Final = (1, 10, 25, 50, 75, 90, 95, 98, 99, 99.5, 99.9)


def neighbours(results: Results, where: Origin, path: Path) -> None:
    """Draw how late a message in a room of two is, idle and beside busy rooms."""
    variants = list(dict.fromkeys(variant for _, variant in results.of))
    figure = Figure(figsize=(9, 4.6))
    for axes, variant in zip(
        figure.subplots(1, len(variants), sharey=True, squeeze=False)[0], variants, strict=True
    ):
        for server in (OURS, BARE):
            for state, style in (("idle", ":"), ("loaded", "-")):
                _late(axes, results, server, variant, state, style)
        axes.set_title(f"beside {variant}")
        axes.set_yscale("log")
        axes.set_xscale("logit", one_half="50")
        axes.set_xticks([0.1, 0.5, 0.9, 0.99, 0.999], ["10", "50", "90", "99", "99.9"])
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("percentile")
        axes.grid(visible=True, color="#eaeef2")
    first = figure.axes[0]
    first.set_ylabel("ms to the other member (log)")
    figure.legend(*first.get_legend_handles_labels(), frameon=False, fontsize=9, ncols=4,
                  loc="upper left", bbox_to_anchor=(0.0, 0.94))  # fmt: skip
    figure.tight_layout(rect=(0, 0.09, 1, 0.9))
    _save(figure, "How late is a message in a room of two?", where, path)


def _late(
    axes: Axes, results: Results, server: Server, variant: str, state: str, style: str
) -> None:
    curves = [results.values(server, variant, f"{state}_p{share:g}_ms") for share in _SHARES]
    if all(curves):
        axes.plot(
            [share / 100 for share in _SHARES],
            [median(values) for values in curves],
            style,
            color=_COLOURS[server.name],
            linewidth=2,
            label=f"{server.name}, {'idle' if state == 'idle' else 'under load'}",
        )


def overview(claims: Sequence[tuple[str, Claim]], where: Origin, path: Path) -> None:
    """Draw each target that was set, and how far from it the median is.

    Args:
      claims: scenario's name and claim.
      where: where the numbers come from.
      path: the file.
    """
    figure = Figure(figsize=(9, 1.7 + 0.38 * len(claims)))
    axes = figure.subplots()
    places = list(range(len(claims)))[::-1]
    # Above 1 is better than asked, whichever way the target points; the ends stand for all beyond.
    scores = []
    for _, claim in claims:
        score = max(claim.value, 1e-9) / claim.target
        scores.append(min(20.0, max(0.1, score if claim.better == "at least" else 1 / score)))
    colours = [_GOOD if claim.met else _BAD for _, claim in claims]
    axes.hlines(places, 1, scores, color=colours, linewidth=3)
    axes.scatter(scores, places, color=colours, s=60, zorder=3)
    axes.axvline(1, color=_INK, linewidth=1)
    axes.set_xscale("log")
    axes.set_xlim(0.09 if min(scores) < 0.5 else 0.45, 90)
    ticks = {0.1: "1/10", 0.5: "1/2", 1: "asked", 2: "2x", 5: "5x", 10: "10x", 20: "20x"}
    shown = {tick: text for tick, text in ticks.items() if tick >= axes.get_xlim()[0]}
    axes.set_xticks(list(shown), list(shown.values()))
    axes.minorticks_off()
    axes.set_yticks(places, [f"{name}: {claim.text}" for name, claim in claims], fontsize=9)
    for place, score, (_, claim) in zip(places, scores, claims, strict=True):
        unit = "" if claim.unit == "x" else f" {claim.unit}"
        axes.annotate(
            f"{number(claim.value)}{unit} ({claim.better} {claim.target:g})",
            (max(score, 1), place),
            (8, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    axes.set_xlabel("better than asked")
    figure.tight_layout(rect=(0, 0.06, 1, 0.95))
    _save(figure, "Targets", where, path)


DRAWN: Final[dict[str, Callable[[Results, Origin, Path], None]]] = {
    "fanout": fanout,
    "ahead": ahead,
    "stalled": stalled,
    "pairs": pairs,
    "neighbours": neighbours,
}
