"""The table: every promise, and the lines that keep it."""

from __future__ import annotations

from tests.prove.patch import Patch

PATCHES: tuple[Patch, ...] = ()
