"""The hub as programs use it: with JSON for its data."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial

from roomactors.core.hooks import Hooks
from roomactors.core.hub import Hub
from roomactors.core.hub import open_hub as open_core_hub
from roomactors.core.settings import HubSettings
from roomactors.protocol.json_data import freeze


def open_hub(
    *, settings: HubSettings | None = None, hooks: Hooks | None = None
) -> AbstractAsyncContextManager[Hub]:
    """Run rooms for the length of an ``async with`` block.

    Args:
      settings: every bound; see `HubSettings` and `RoomSettings`.
      hooks: async functions to be called when members and rooms come and go.

    Leaving the block lets the rooms finish what they have taken, at most
    `HubSettings.drain_seconds`; then seats that are still held end with the
    reason ``closed``. If the block is cancelled or raises, the rooms end at
    once. Entering is no checkpoint, leaving is one.
    """
    # The hub has the limit on sizes, and says which value is over it.
    return open_core_hub(freeze=partial(freeze, max_bytes=0), settings=settings, hooks=hooks)
