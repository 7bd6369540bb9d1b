"""The generated pages are what the code says now."""

from __future__ import annotations

import pytest

from tests.docs.catalogue import all_bounds
from tests.docs.generate import PAGES, ROOT


@pytest.mark.parametrize("path", PAGES)
def test_a_generated_page_is_up_to_date(path: str) -> None:
    """Else `make docs` has not been run since the code changed."""
    assert (ROOT / path).read_text() == PAGES[path]()


def test_the_page_names_each_bound_with_its_default_and_its_flag() -> None:
    """So that none is lost on the way from the code to the page."""
    rows = PAGES["docs/reference/bounds.md"]().splitlines()
    for bound in all_bounds():
        name = bound.name.rpartition(".")[2]
        facts = (bound.flag or "", bound.unit, bound.reason, bound.over)
        found = [row for row in rows if row.startswith(f"| `{name}`")]
        assert any(all(fact in row for fact in facts) for row in found), name
