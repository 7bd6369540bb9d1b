"""The table: every promise, and the lines that keep it."""

from __future__ import annotations

from tests.prove.patch import Patch
from tests.prove.server_patches import SERVER_PATCHES

BATCH = "roomactors/core/batch.py"
BUDGET = "roomactors/core/budget.py"
FANOUT = "roomactors/core/fanout.py"
HANDLES = "roomactors/core/handles.py"
HOOKS = "roomactors/core/hooks.py"
HUB = "roomactors/core/hub.py"
KEEPER = "roomactors/core/keeper.py"
LOG = "roomactors/core/log.py"
MAILBOX = "roomactors/core/mailbox.py"
OUTLET = "roomactors/core/outlet.py"
REPLY = "roomactors/core/reply.py"
ROOM = "roomactors/core/room.py"
ROSTER = "roomactors/core/roster.py"

ATOMIC_JOIN_TESTS = "tests/core/promises/test_atomic_join.py::"
BOUNDED_TESTS = "tests/core/promises/test_bounded.py::"
CANCEL_SAFE_TESTS = "tests/core/promises/test_cancel_safe.py::"
CLEAN_LEAVE_TESTS = "tests/core/promises/test_clean_leave.py::"
CONTIGUOUS_TESTS = "tests/core/promises/test_contiguous.py::"
DRAIN_TESTS = "tests/core/promises/test_drain.py::"
ISOLATION_TESTS = "tests/core/promises/test_isolation.py::"
NO_LEAK_TESTS = "tests/core/promises/test_no_leak.py::"
ONE_EXIT_TESTS = "tests/core/promises/test_one_exit.py::"
ORDER_TESTS = "tests/core/promises/test_order.py::"
BUDGET_TESTS = "tests/core/test_budget.py::"
HOOKS_TESTS = "tests/core/test_hooks.py::"
MAILBOX_TESTS = "tests/core/test_mailbox.py::"
OUTLET_TESTS = "tests/core/test_outlet.py::"
REPLY_TESTS = "tests/core/test_reply.py::"
ROOM_TESTS = "tests/core/test_room.py::"

PATCHES: tuple[Patch, ...] = (
    # order
    Patch(
        promise="order",
        breaks="a leave overtakes what was asked before it",
        file=MAILBOX,
        within="Mailbox.force",
        old="self._commands.append((command, None, 0))",
        new="self._commands.appendleft((command, None, 0))",
        tests=(f"{ORDER_TESTS}test_a_leave_waits_for_nothing_and_passes_nothing_that_has_a_place",),
    ),
    Patch(
        promise="order",
        breaks="the last command comes out first",
        file=MAILBOX,
        within="Mailbox.take",
        old="command, origin, size = self._commands.popleft()",
        new="command, origin, size = self._commands.pop()",
        tests=(
            f"{ORDER_TESTS}test_one_sender_s_messages_keep_their_order",
            f"{ORDER_TESTS}test_messages_and_membership_are_one_sequence",
        ),
    ),
    Patch(
        promise="order",
        breaks="who comes later gets the place of one who stands in line",
        file=MAILBOX,
        within="Mailbox.post",
        old="if in_share and not self._line and self._has_place(size):",
        new="if in_share and self._has_place(size):",
        tests=(f"{MAILBOX_TESTS}test_what_finds_no_place_stands_in_line_in_order",),
    ),
    Patch(
        promise="order",
        breaks="a volatile message passes the numbered ones before it",
        file=OUTLET,
        within="LocalOutlet.next_event",
        old="if volatile and volatile[0][0] <= member.cursor:",
        new="if volatile:",
        tests=(f"{OUTLET_TESTS}test_volatile_messages_wait_for_a_reader_about_to_read",),
    ),
    # contiguous
    Patch(
        promise="contiguous",
        breaks="a member that was served from the log meanwhile is served again",
        file=FANOUT,
        within="_give",
        old="if member.cursor != base or not outlet.free:",
        new="if not outlet.free:",
        tests=(f"{CONTIGUOUS_TESTS}test_a_member_served_between_two_slices_gets_each_event_once",),
    ),
    Patch(
        promise="contiguous",
        breaks="the same, for a member that is served by itself",
        file=FANOUT,
        within="FanOut.deliveries",
        old="self._deliver_apart(member, items[start:], base)",
        new="self._deliver_apart(member, items[start:], max(base, member.cursor))",
        tests=(
            f"{CONTIGUOUS_TESTS}test_a_member_apart_served_between_two_slices_gets_each_event_once",
        ),
    ),
    Patch(
        promise="contiguous",
        breaks="who is excluded from one message misses those before it in the turn",
        file=FANOUT,
        within="FanOut.exclude",
        old="self._apart.setdefault(member, (0, self._base))",
        new="self._apart.setdefault(member, (len(self._items), self._base))",
        tests=(f"{CONTIGUOUS_TESTS}test_nobody_is_excluded_from_more_than_was_said",),
    ),
    Patch(
        promise="contiguous",
        breaks="the rest of a cut frame is dropped",
        file=BATCH,
        within="Batch.cut",
        old="return self.seqs[whole], self.buffer[taken : self.ends[whole]]",
        new='return self.seqs[whole], b""',
        tests=(
            f"{CONTIGUOUS_TESTS}test_a_cut_frame_is_finished_and_the_rest_is_read_from_the_log",
        ),
    ),
    Patch(
        promise="contiguous",
        breaks="a socket that takes nothing counts as one that took all",
        file=FANOUT,
        within="_give",
        old="taken = 0",
        new="taken = size",
        tests=(f"{ISOLATION_TESTS}test_one_room_s_backlog_is_no_other_room_s",),
    ),
    Patch(
        promise="contiguous",
        breaks="a gap names less than what is lost",
        file=LOG,
        within="Log.gap",
        old="first=cursor + 1,",
        new="first=cursor + 2,",
        tests=(f"{CONTIGUOUS_TESTS}test_a_seat_that_falls_out_of_the_log_is_told_so_once",),
    ),
    # atomic-join
    Patch(
        promise="atomic-join",
        breaks="the reply's number is not the one before the join",
        file=ROOM,
        within="Room._tell_joined",
        old="seq=self.log.head,",
        new="seq=self.log.head + 1,",
        tests=(
            f"{ATOMIC_JOIN_TESTS}test_what_was_before_is_in_the_answer_and_what_comes_after_is_heard",
        ),
    ),
    Patch(
        promise="atomic-join",
        breaks="who joins hears what was said before",
        file=ROOM,
        within="Room._apply_join",
        old="member.cursor = log.head",
        new="member.cursor = log.base",
        tests=(f"{ATOMIC_JOIN_TESTS}test_the_same_holds_for_a_seat_in_this_process",),
    ),
    Patch(
        promise="atomic-join",
        breaks="the reply comes without the roster",
        file=ROOM,
        within="Room._tell_joined",
        old="roster=self._shown(),",
        new="roster=None,",
        tests=(f"{ATOMIC_JOIN_TESTS}test_a_roster_and_the_changes_after_it_are_the_room",),
    ),
    Patch(
        promise="atomic-join",
        breaks="a seat in this process is not told who is there",
        file=HANDLES,
        within="_arrive",
        old="members = tuple(member.view for member in joined.roster or ())",
        new="members = ()",
        tests=(f"{ATOMIC_JOIN_TESTS}test_the_same_holds_for_a_seat_in_this_process",),
    ),
    # clean-leave
    Patch(
        promise="clean-leave",
        breaks="who leaves while behind misses the last event before it",
        file=ROOM,
        within="Room._remove",
        old="member.end, member.reason = self.log.head, reason",
        new="member.end, member.reason = self.log.head - 1, reason",
        tests=(f"{CLEAN_LEAVE_TESTS}test_a_turn_that_holds_a_message_a_leave_and_a_message",),
    ),
    Patch(
        promise="clean-leave",
        breaks="who has left is still written to",
        file=FANOUT,
        within="FanOut.remove",
        old="del group[member]",
        new="assert member in group",
        tests=(f"{CLEAN_LEAVE_TESTS}test_a_turn_that_begins_with_a_leave",),
    ),
    Patch(
        promise="clean-leave",
        breaks="a connection goes on serving a seat that has ended",
        file=ROOM,
        within="Room._remove",
        old="del outlet.members[self.name]",
        new="pass",
        tests=(
            f"{CLEAN_LEAVE_TESTS}test_who_left_hears_nothing_more_however_long_the_room_goes_on",
        ),
    ),
    Patch(
        promise="clean-leave",
        breaks="a seat in this process reads beyond its end",
        file=OUTLET,
        within="LocalOutlet.next_event",
        old="end = log.head if member.end is None else member.end",
        new="end = log.head",
        tests=(f"{CLEAN_LEAVE_TESTS}test_the_same_holds_for_a_seat_in_this_process",),
    ),
    # one-exit
    Patch(
        promise="one-exit",
        breaks="the late leave of an earlier seat removes the later one",
        file=ROOM,
        within="Room._apply_leave",
        old="(command.seat is None or command.seat is member)",
        new="True",
        tests=(f"{ONE_EXIT_TESTS}test_a_late_leave_of_an_earlier_seat_removes_nobody",),
    ),
    Patch(
        promise="one-exit",
        breaks="a lost connection keeps its seats",
        file=KEEPER,
        within="Keeper.disconnect",
        old="self.leave_now(member, reason)",
        new="pass",
        tests=(
            f"{ONE_EXIT_TESTS}test_a_connection_that_is_lost_leaves_every_room_once",
            f"{ONE_EXIT_TESTS}test_a_write_that_fails_is_an_exit",
        ),
    ),
    Patch(
        promise="one-exit",
        breaks="a join is done for a connection that is gone",
        file=ROOM,
        within="Room._accept_join",
        old="if outlet.closed:",
        new="if outlet.closed and command.hidden:",
        tests=(f"{ONE_EXIT_TESTS}test_who_was_never_in_never_left",),
    ),
    Patch(
        promise="one-exit",
        breaks="a block that fails says goodbye as if nothing had happened",
        file=HANDLES,
        within="RoomHandle.join",
        old='reason: LeftReason = "disconnected"',
        new='reason: LeftReason = "left"',
        tests=(f"{ONE_EXIT_TESTS}test_a_block_that_is_left_in_any_way_is_one_exit",),
    ),
    # isolation
    Patch(
        promise="isolation",
        breaks="a write that raises ends the room",
        file=FANOUT,
        within="_give",
        old="outlet.broken(error)",
        new="raise",
        tests=(
            f"{ISOLATION_TESTS}test_a_dead_member_loses_no_message_for_the_rest",
            f"{ISOLATION_TESTS}test_a_bug_in_one_outlet_s_write_is_that_outlet_s_end",
        ),
    ),
    Patch(
        promise="isolation",
        breaks="a bug in one command ends the room",
        file=ROOM,
        within="Room._handle",
        old="except Exception:",
        new="except RefusedError:",
        tests=(f"{ROOM_TESTS}test_a_command_that_fails_is_answered_and_the_room_goes_on",),
    ),
    Patch(
        promise="isolation",
        breaks="a bug in one room ends the hub",
        file=ROOM,
        within="Room.run",
        old="except Exception:",
        new="except RefusedError:",
        tests=(f"{ISOLATION_TESTS}test_a_bug_in_one_room_is_that_room_s_end",),
    ),
    Patch(
        promise="isolation",
        breaks="one connection may fill the mailbox",
        file=MAILBOX,
        within="Mailbox._in_share",
        old="return self._shares.get(origin, 0) < self._settings.mailbox_share",
        new="return True",
        tests=(f"{ISOLATION_TESTS}test_a_flood_leaves_the_others_their_places",),
    ),
    Patch(
        promise="isolation",
        breaks="a hook that raises ends the hub",
        file=HOOKS,
        within="HookRunner.run",
        old="except Exception:",
        new="except RuntimeError:",
        tests=(f"{HOOKS_TESTS}test_a_hook_that_fails_is_reported_and_the_next_is_called",),
    ),
    # bounded
    Patch(
        promise="bounded",
        breaks="a mailbox takes any number of commands",
        file=MAILBOX,
        within="Mailbox._has_place",
        old="return self._counted < self._settings.mailbox_commands and (",
        new="return self._counted < 10**9 and (",
        tests=(f"{BOUNDED_TESTS}test_a_mailbox_takes_so_many_commands_and_bytes",),
    ),
    Patch(
        promise="bounded",
        breaks="a log keeps any number of messages",
        file=LOG,
        within="Log.trim",
        old="self.messages <= settings.log_messages",
        new="self.messages <= 10**9",
        tests=(f"{BOUNDED_TESTS}test_a_log_keeps_so_many_messages_and_bytes_and_seconds",),
    ),
    Patch(
        promise="bounded",
        breaks="frames are kept in the log without being counted",
        file=LOG,
        within="Log.frame",
        old="self.size += len(made)",
        new="pass",
        tests=(f"{BOUNDED_TESTS}test_frames_count_in_the_log",),
    ),
    Patch(
        promise="bounded",
        breaks="a turn goes on for as long as there are commands",
        file=ROOM,
        within="Room._turn",
        old="while len(mailbox) and room_left > 0:",
        new="while len(mailbox):",
        tests=(f"{BOUNDED_TESTS}test_a_turn_writes_so_many_bytes",),
    ),
    Patch(
        promise="bounded",
        breaks="a fan-out keeps the loop until everyone has been written to",
        file=ROOM,
        within="Room._fan_out",
        old="if spent >= SLICE_SECONDS:",
        new="if spent >= 1000 * SLICE_SECONDS:",
        tests=(f"{BOUNDED_TESTS}test_a_slice_of_work_is_so_long",),
    ),
    Patch(
        promise="bounded",
        breaks="a room takes one member too many",
        file=ROOM,
        within="Room._accept_join",
        old="if limit and len(self.roster) >= limit:",
        new="if limit and len(self.roster) > limit:",
        tests=(f"{BOUNDED_TESTS}test_members_rooms_and_sizes_have_their_limits",),
    ),
    Patch(
        promise="bounded",
        breaks="an empty room stays for ever",
        file=ROOM,
        within="Room._linger",
        old="with trio.move_on_after(self._settings.linger_seconds):",
        new="with trio.CancelScope():",
        tests=(f"{BOUNDED_TESTS}test_an_empty_room_has_so_many_seconds",),
    ),
    Patch(
        promise="bounded",
        breaks="volatile messages pile up for one who does not read",
        file=OUTLET,
        within="LocalOutlet.deliver",
        old="kept = member.volatile = deque(maxlen=self._volatile_queue)",
        new="kept = member.volatile = deque()",
        tests=(f"{BOUNDED_TESTS}test_volatile_messages_that_wait_are_so_many",),
    ),
    # cancel-safe
    Patch(
        promise="cancel-safe",
        breaks="a call that was cancelled before the turn is done all the same",
        file=REPLY,
        within="Reply.wait",
        old="self.abandoned = True",
        new="pass",
        tests=(
            f"{CANCEL_SAFE_TESTS}test_a_call_cancelled_at_the_last_moment_before_the_turn_is_not_done",
            f"{CANCEL_SAFE_TESTS}test_a_broadcast_from_a_seat_may_be_cancelled_before_the_turn",
        ),
    ),
    Patch(
        promise="cancel-safe",
        breaks="a call that is cancelled beforehand still goes to the room",
        file=KEEPER,
        within="Keeper.ask",
        old="await trio.lowlevel.checkpoint_if_cancelled()",
        new="await trio.lowlevel.cancel_shielded_checkpoint()",
        tests=(f"{CANCEL_SAFE_TESTS}test_a_call_cancelled_before_it_asks_does_nothing",),
    ),
    Patch(
        promise="cancel-safe",
        breaks="a cancelled join leaves somebody who can be sent to",
        file=HANDLES,
        within="RoomHandle.join",
        old="keeper.release_local_outlet(outlet)",
        new="pass",
        tests=(
            f"{CANCEL_SAFE_TESTS}test_a_call_cancelled_while_it_stands_in_line_is_not_done",
            f"{CANCEL_SAFE_TESTS}test_a_call_may_be_cancelled_at_any_step_of_any_task",
        ),
    ),
    Patch(
        promise="cancel-safe",
        breaks="what was done is hidden by a cancellation",
        file=REPLY,
        within="Reply.wait",
        old="await trio.lowlevel.cancel_shielded_checkpoint()",
        new="await trio.lowlevel.checkpoint()",
        tests=(f"{REPLY_TESTS}test_an_answer_that_has_come_is_given_to_one_who_is_cancelled",),
    ),
    Patch(
        promise="cancel-safe",
        breaks="who waits for a slice is forgotten when the one before is cancelled",
        file=BUDGET,
        within="Budget.spend",
        old="more = self._spent < SLICE_SECONDS or not self._woken",
        new="more = self._spent < SLICE_SECONDS",
        tests=(f"{BUDGET_TESTS}test_a_cancelled_one_in_the_queue_holds_up_nobody",),
    ),
    # no-leak
    Patch(
        promise="no-leak",
        breaks="a room that has ended stays in the hub",
        file=KEEPER,
        within="Keeper.retire",
        old="del self.rooms[room.name]",
        new="pass",
        tests=(f"{NO_LEAK_TESTS}test_a_thousand_empty_rooms_vanish_with_their_tasks",),
    ),
    Patch(
        promise="no-leak",
        breaks="who hung up stays in the hub",
        file=KEEPER,
        within="Keeper.disconnect",
        old="del self.outlets[outlet.id]",
        new="pass",
        tests=(f"{NO_LEAK_TESTS}test_a_crowd_that_came_and_went_leaves_nothing",),
    ),
    Patch(
        promise="no-leak",
        breaks="a roster holds those who left",
        file=ROSTER,
        within="Roster.remove",
        old="del self._by_number[member.number]",
        new="pass",
        tests=(f"{NO_LEAK_TESTS}test_a_room_that_goes_on_holds_nobody_who_left",),
    ),
    Patch(
        promise="no-leak",
        breaks="a mailbox holds who asked for something",
        file=MAILBOX,
        within="Mailbox.take",
        old="del self._shares[origin]",
        new="self._shares[origin] = held",
        tests=(f"{NO_LEAK_TESTS}test_a_room_that_goes_on_holds_nobody_who_left",),
    ),
    Patch(
        promise="no-leak",
        breaks="a room holds the ways out that it answered",
        file=FANOUT,
        within="FanOut.deliveries",
        old="self._answered.clear()",
        new="pass",
        tests=(f"{NO_LEAK_TESTS}test_a_room_that_goes_on_holds_nobody_who_left",),
    ),
    # drain
    Patch(
        promise="drain",
        breaks="a stopping hub still takes new work",
        file=KEEPER,
        within="Keeper.drain",
        old="self.draining = True",
        new="pass",
        tests=(f"{DRAIN_TESTS}test_nothing_new_is_taken_while_it_drains",),
    ),
    Patch(
        promise="drain",
        breaks="a hub closes without finishing what it took",
        file=HUB,
        within="open_hub",
        old="await keeper.drain(settings.drain_seconds)",
        new="await keeper.drain(0)",
        tests=(f"{DRAIN_TESTS}test_what_was_accepted_is_done_and_heard",),
    ),
    Patch(
        promise="drain",
        breaks="the deadline is not kept",
        file=KEEPER,
        within="Keeper.drain",
        old="with trio.move_on_after(seconds):",
        new="with trio.move_on_after(2 * seconds):",
        tests=(
            f"{DRAIN_TESTS}test_a_room_that_hangs_is_ended_at_the_deadline_and_callers_are_answered",
        ),
    ),
    Patch(
        promise="drain",
        breaks="a room that fails in a drain ends the drain of the others",
        file=KEEPER,
        within="Keeper.drain",
        old="with suppress(RoomActorsError):",
        new="with suppress():",
        tests=(f"{DRAIN_TESTS}test_a_room_that_fails_while_it_drains_holds_up_nobody",),
    ),
    Patch(
        promise="drain",
        breaks="callers of a room that is ended are left without an answer",
        file=ROOM,
        within="Room._end",
        old="command.answer.fail(ending)",
        new="pass",
        tests=(
            f"{DRAIN_TESTS}test_a_room_that_hangs_is_ended_at_the_deadline_and_callers_are_answered",
        ),
    ),
    Patch(
        promise="drain",
        breaks="departures are announced in a drain",
        file=KEEPER,
        within="Keeper.disconnect",
        old="if not self.draining:",
        new="if outlet.closed:",
        tests=(f"{DRAIN_TESTS}test_departures_are_not_announced_in_a_drain",),
    ),
    *SERVER_PATCHES,
)
