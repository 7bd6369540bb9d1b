"""What the design promises, by the names that tests and docs use."""

from __future__ import annotations

PROMISES = {
    "order": "Every member sees the room's events in log order:"
    " messages, membership and state changes in one sequence.",
    "contiguous": "Between join and leave a member sees every event addressed to it,"
    " or an explicit gap.",
    "atomic-join": "The join reply is first; it names `epoch`, `seq` and the roster as of `seq`;"
    " then come exactly the events after it, each once.",
    "clean-leave": "`left` comes after all that this member gets of the room,"
    " and nothing of it comes after.",
    "one-exit": "For each `member_joined` that others saw there is exactly one `member_left`,"
    " with its reason; also under cancellation and loss of the connection.",
    "isolation": "A slow, dead or hostile connection costs only itself;"
    " an exception in one connection never stops the server or other rooms.",
    "bounded": "Every queue, buffer, size, rate, count and wait has a limit"
    " with a default, a unit and a reason.",
    "cancel-safe": "Cancelling any await leaves no ghost member, no stuck caller,"
    " and no half frame on a socket that goes on.",
    "no-leak": "After any load, when rooms are empty,"
    " tasks, files and memory are back where they were.",
    "drain": "On stop, listeners close, clients are told to return, what was accepted is finished,"
    " and every waiting caller gets an answer, all by the deadline.",
}

PATCHES_NEEDED = 3
"""How many patches a promise has at least."""
