"""The runner is itself put to the test, on a package of one function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.prove.__main__ import too_few
from tests.prove.page import PAGE, page
from tests.prove.patch import Patch, PatchError
from tests.prove.patches import PATCHES
from tests.prove.promises import PATCHES_NEEDED, PROMISES
from tests.prove.proof import ROOT, ProofError, Result, prove

SOURCE = """\
def keep(items, limit):
    kept = list(items)
    if len(kept) > limit:
        kept = kept[:limit]
    return kept


class Shelf:
    def keep(self, items):
        kept = list(items)
        return kept
"""

TESTS = """\
import pytest
from shelf import keep

@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_than_the_limit(limit):
    assert len(keep("abcde", limit)) == limit

def test_order():
    assert keep("abc", 5) == ["a", "b", "c"]

def test_nothing():
    pass
"""

CUT = Patch(
    promise="bounded",
    breaks="more is kept than allowed",
    file="shelf/__init__.py",
    old="kept = kept[:limit]",
    new="pass",
    tests=("tests/test_shelf.py::test_no_more_than_the_limit",),
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project of one package and its tests."""
    for name, text in {"shelf/__init__.py": SOURCE, "tests/test_shelf.py": TESTS}.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def state(checkout: Path) -> dict[Path, int]:
    """When each file and folder was last written."""
    return {path: path.stat().st_mtime_ns for path in checkout.rglob("*")}


async def results(checkout: Path, *patches: Patch, time_limit: float = 60) -> list[Result]:
    """What comes of some patches of the made-up package, in the order in which they stand."""
    seen: list[Result] = []
    found = await prove(patches, seen.append, root=checkout, package="shelf", time_limit=time_limit)
    assert found == seen
    return sorted(found, key=lambda result: patches.index(result.patch))


async def test_patches_are_told_apart(checkout: Path) -> None:
    """What is noticed, what is not, and what proves nothing each get their own verdict."""
    order = "tests/test_shelf.py::test_order"
    found = await results(
        checkout,
        CUT,
        attrs.evolve(CUT, tests=("tests/test_shelf.py::test_nothing",)),
        attrs.evolve(CUT, tests=(*CUT.tests, order)),
        attrs.evolve(
            CUT, old="return kept", new="return kept[::-1]", within="keep", tests=(order,)
        ),
        # Every test fails when the module no longer loads: that says nothing of this one.
        attrs.evolve(CUT, old="def keep(items, limit):", new="def keep(items, limit=limit):"),
        attrs.evolve(CUT, old="kept = gone[:limit]"),
    )
    assert [result.verdict for result in found] == [
        "caught",
        "survived",
        "survived",
        "caught",
        "not a proof",
        "not a proof",
    ]
    assert [result.good for result in found] == [True, False, False, True, False, False]
    assert "assert 5 == " in found[0].because
    assert order in found[2].because


async def test_the_checkout_is_left_as_it_was(checkout: Path) -> None:
    """Patches are applied to copies; nothing in the checkout changes or is added."""
    before = state(checkout)
    await results(checkout, CUT, CUT)
    assert state(checkout) == before


async def test_a_patch_is_gone_before_the_next(checkout: Path) -> None:
    """With more patches than copies, each copy is whole again for the next patch."""
    harmless = attrs.evolve(CUT, old="kept = list(items)", new="kept = [*items]", within="keep")
    patches = [CUT, CUT, CUT, *[attrs.evolve(harmless, breaks=name) for name in "abc"]]
    found = await results(checkout, *patches)
    assert [result.verdict for result in found] == ["caught"] * 3 + ["survived"] * 3


async def test_a_test_that_hangs_is_ended_and_reported_as_such(checkout: Path) -> None:
    """A patch may make a test wait for ever: its time limit notices."""
    endless = attrs.evolve(CUT, new="__import__('threading').Event().wait()")
    (result,) = await results(checkout, endless, time_limit=2)
    assert (result.verdict, result.good) == ("caught by hanging", True)


async def test_tests_that_fail_without_any_patch_prove_nothing(checkout: Path) -> None:
    """The run stops before the first patch, with what pytest said."""
    (checkout / "shelf" / "__init__.py").write_text(
        SOURCE.replace("[:limit]", ""), encoding="utf-8"
    )
    with pytest.raises(ProofError, match="test_no_more_than_the_limit"):
        await results(checkout, attrs.evolve(CUT, old="kept = kept"))


async def test_only_the_copy_is_tested(checkout: Path) -> None:
    """A package that is found elsewhere than in the copy would pass or fail for its own reasons."""
    (checkout / "shelf" / "__init__.py").write_text("__path__ = ['/elsewhere']", "utf-8")
    with pytest.raises(ProofError, match="not against the copy"):
        await results(checkout, CUT)


async def test_code_that_is_broken_anyway_proves_nothing(checkout: Path) -> None:
    """A module that does not load is reported before any patch is tried."""
    (checkout / "shelf" / "other.py").write_text("def (", encoding="utf-8")
    with pytest.raises(ProofError, match="SyntaxError"):
        await results(checkout, CUT)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"old": "kept = kept"}, "0 lines are 'kept = kept'"),
        ({"old": "kept = list(items)"}, "2 lines are"),
        ({"within": "Shelf"}, "0 lines are"),
        ({"within": "Shelf.gone"}, "there is no Shelf.gone"),
        ({"new": "kept = ("}, "is no Python"),
        ({"new": "kept = kept[: limit]  # the same"}, "means the same"),
        ({"tests": ()}, "names no test"),
        ({"tests": ("tests/test_shelf.py::test_gone",)}, "there is no test"),
        ({"tests": ("tests/test_gone.py::test_order",)}, "there is no test"),
    ],
)
def test_a_patch_that_does_not_fit_is_refused(
    checkout: Path, changes: dict[str, Any], complaint: str
) -> None:
    """A patch says what is there, exactly once, and changes it to something else that loads."""
    CUT.check(checkout)
    with pytest.raises(PatchError, match=complaint):
        attrs.evolve(CUT, **changes).check(checkout)


def test_a_patch_replaces_one_line_where_it_stands() -> None:
    """The new line gets the old one's indentation, and the rest stays as it is."""
    patch = attrs.evolve(CUT, old="kept = list(items)", new="kept = []", within="Shelf.keep")
    before, after = SOURCE.splitlines(), patch.applied_to(SOURCE).splitlines()
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [("        kept = list(items)", "        kept = []")]
    assert after[9] == "        kept = []"


def test_a_promise_with_too_few_patches_is_named() -> None:
    """The same line twice counts once."""
    patches = [CUT, attrs.evolve(CUT, breaks="the same"), attrs.evolve(CUT, new="kept = []")]
    assert too_few(patches, ["bounded"]) == ["bounded has 2 of the 3 patches it needs"]
    patches.append(attrs.evolve(CUT, new="kept = items"))
    assert len(patches) - 1 == PATCHES_NEEDED
    assert too_few(patches, ["bounded"]) == []
    assert too_few(patches, ["bounded", "order"]) == ["order has 0 of the 3 patches it needs"]


def test_a_page_shows_the_patch_and_its_tests() -> None:
    """The page has a row for a patch, under its promise, safe to stand in a table."""
    text = page([attrs.evolve(CUT, new="kept = kept | limit")])
    section = text.partition("\n## bounded\n")[2].partition("\n## ")[0]
    assert CUT.breaks in section
    assert CUT.tests[0] in section
    assert r"`kept = kept \| limit`" in section


def test_every_patch_fits_the_code() -> None:
    """A line that was changed, or a test that was renamed, takes its patches along."""
    for patch in PATCHES:
        assert patch.promise in PROMISES
        patch.check(ROOT)


def test_the_page_is_as_the_table_says() -> None:
    """`make docs` writes the page anew."""
    assert (ROOT / PAGE).read_text(encoding="utf-8") == page(PATCHES)
