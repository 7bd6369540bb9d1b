"""The table's rows for the server: the lines of connections, drivers and listening."""

from __future__ import annotations

from tests.prove.patch import Patch

CONNECTION = "roomactors/server/connection.py"
DIALOGUE_JSON = "roomactors/server/dialogue_json.py"
DRIVERS = "roomactors/server/drivers.py"
LISTEN = "roomactors/server/listen.py"
OUTLET = "roomactors/server/outlet.py"
READER = "roomactors/server/reader.py"
SOCKETS = "roomactors/server/sockets.py"

CONNECTION_TESTS = "tests/server/test_connection.py::"
DRAIN_TESTS = "tests/server/test_drain.py::"
DRIVERS_TESTS = "tests/server/test_drivers.py::"
LISTEN_TESTS = "tests/server/test_listen.py::"
OUTLET_TESTS = "tests/server/test_outlet.py::"
READER_TESTS = "tests/server/test_reader.py::"

SERVER_PATCHES: tuple[Patch, ...] = (
    # contiguous
    Patch(
        promise="contiguous",
        breaks="the rest of a frame that a fan-out's write cut is lost",
        file=OUTLET,
        within="FrameOutlet.taken",
        old="self._own.appendleft(rest)",
        new="pass",
        tests=(f"{OUTLET_TESTS}test_a_shared_write_that_was_cut_keeps_the_rest_of_one_frame",),
    ),
    Patch(
        promise="contiguous",
        breaks="a turn is written to a seat that has not been given what came before",
        file=OUTLET,
        within="FrameOutlet._deliver",
        old="if self._own or self._pong or member.cursor != batch.base:",
        new="if self._own or self._pong:",
        tests=(f"{OUTLET_TESTS}test_one_that_a_fan_out_has_not_come_to_can_be_caught_up",),
    ),
    Patch(
        promise="contiguous",
        breaks="own frames that were not taken go behind what came later",
        file=OUTLET,
        within="FrameOutlet.piece_taken",
        old="self._own.extendleft(reversed(back))",
        new="self._own.extend(back)",
        tests=(f"{OUTLET_TESTS}test_own_frames_tails_replies_and_rooms_go_out_whole_and_in_order",),
    ),
    Patch(
        promise="contiguous",
        breaks="a backlog's write that was cut counts as whole",
        file=OUTLET,
        within="FrameOutlet.piece_taken",
        old="piece.member.cursor, rest = piece.batch.cut(count)",
        new='piece.member.cursor, rest = piece.batch.head, b""',
        tests=(f"{OUTLET_TESTS}test_own_frames_tails_replies_and_rooms_go_out_whole_and_in_order",),
    ),
    # clean-leave
    Patch(
        promise="clean-leave",
        breaks="`left` overtakes what the member has yet to get",
        file=OUTLET,
        within="FrameOutlet.finish",
        old="if member.cursor < member.end:",
        new="if member.end < 0:",
        tests=(
            f"{OUTLET_TESTS}test_one_that_has_left_while_it_was_behind_and_comes_back_gets_both_stays",
        ),
    ),
    Patch(
        promise="clean-leave",
        breaks="one that left while it was behind gets what came after it",
        file=OUTLET,
        within="FrameOutlet._take_out",
        old="batch = self._stretch(item.member, item.end)",
        new="batch = self._stretch(item.member, item.member.log.head)",
        tests=(
            f"{OUTLET_TESTS}test_one_that_has_left_while_it_was_behind_and_comes_back_gets_both_stays",
        ),
    ),
    Patch(
        promise="clean-leave",
        breaks="a connection is told of a seat's end before the last of it has gone out",
        file=OUTLET,
        within="FrameOutlet.finish",
        old="self._gone.append(member)",
        new="self._speaker.seat_ended(member)",
        tests=(f"{OUTLET_TESTS}test_a_seat_that_has_ended_is_told_once_its_last_frame_has_gone",),
    ),
    # isolation
    Patch(
        promise="isolation",
        breaks="an error in one message gets out of its connection",
        file=CONNECTION,
        within="Connection.work",
        old="except Exception:",
        new="except KeyError:",
        tests=(f"{CONNECTION_TESTS}test_an_error_of_ours_in_a_message_closes_this_one_with_1011",),
    ),
    Patch(
        promise="isolation",
        breaks="an error while one connection is read ends the reader of all",
        file=READER,
        within="EpollReader._read",
        old="except Exception:",
        new="except KeyError:",
        tests=(
            f"{DRIVERS_TESTS}test_an_error_of_ours_while_reading_ends_only_that_connection[reader]",
        ),
    ),
    Patch(
        promise="isolation",
        breaks="an error in one connection's due times ends those of all",
        file=DRIVERS,
        within="Pulse._look_at",
        old="except Exception:",
        new="except KeyError:",
        tests=(f"{DRIVERS_TESTS}test_an_error_in_a_look_loses_that_one",),
    ),
    Patch(
        promise="isolation",
        breaks="an error in a reply ends the room that asked for the flush",
        file=OUTLET,
        within="FrameOutlet.flush",
        old="except Exception as error:  # noqa: BLE001 - the connection's end, which reports it",
        new="except KeyError as error:",
        tests=(f"{OUTLET_TESTS}test_a_bug_in_a_connection_s_words_reaches_no_room[flush]",),
    ),
    Patch(
        promise="isolation",
        breaks="an error in one socket's opening ends the server",
        file=LISTEN,
        within="Server._serve_link",
        old="except Exception:",
        new="except KeyError:",
        tests=(f"{LISTEN_TESTS}test_an_error_of_ours_in_one_socket_is_logged_and_stops_nothing",),
    ),
    Patch(
        promise="isolation",
        breaks="those who always have something are read before all others, again and again",
        file=READER,
        within="EpollReader.run",
        old="if not ready:",
        new="if ready.clear() is None:",
        tests=(f"{READER_TESTS}test_nobody_is_starved_by_those_who_always_have_something",),
    ),
    Patch(
        promise="isolation",
        breaks="one that sends much is served to the end before the others",
        file=CONNECTION,
        within="Connection.work",
        old="if messages >= TURN_MESSAGES or size >= TURN_BYTES:",
        new="if messages < 0:",
        tests=(f"{DRIVERS_TESTS}test_one_that_sends_much_does_not_keep_the_others_waiting",),
    ),
    # bounded
    Patch(
        promise="bounded",
        breaks="one that does not read its replies may ask for more and more",
        file=CONNECTION,
        within="Connection.paused",
        old="or self.outlet.own_bytes + self._promised > self.settings.own_bytes",
        new="or self._promised > self.settings.own_bytes",
        tests=(
            f"{CONNECTION_TESTS}test_replies_over_the_bound_pause_it_until_the_peer_takes_them",
        ),
    ),
    Patch(
        promise="bounded",
        breaks="the answers of any number of joins may be under way",
        file=DIALOGUE_JSON,
        within="JsonDialogue._join",
        old="self._connection.promise(JOINED_BYTES)",
        new="pass",
        tests=(f"{CONNECTION_TESTS}test_joins_under_way_are_few",),
    ),
    Patch(
        promise="bounded",
        breaks="a page of the roster that waits behind a backlog counts as nothing",
        file=OUTLET,
        within="FrameOutlet._push_tail",
        old="self.own_bytes += DEFERRED_BYTES + len(tail.frame)",
        new="self.own_bytes += DEFERRED_BYTES",
        tests=(
            f"{CONNECTION_TESTS}test_joins_of_one_that_reads_nothing_are_bounded_by_their_answers",
        ),
    ),
    Patch(
        promise="bounded",
        breaks="each ping of one that does not read is answered in memory",
        file=OUTLET,
        within="FrameOutlet.push_pong",
        old="if not self._blocked:",
        new="if not self.free:",
        tests=(f"{OUTLET_TESTS}test_only_the_latest_pong_waits_for_a_slow_peer",),
    ),
    Patch(
        promise="bounded",
        breaks="any number of sockets is kept to be refused",
        file=LISTEN,
        within="Server.take",
        old="if self._refusing >= REFUSALS_AT_ONCE:",
        new="if self._refusing < 0:",
        tests=(f"{LISTEN_TESTS}test_more_refusals_than_can_be_told_are_reset",),
    ),
    Patch(
        promise="bounded",
        breaks="due times that do not count any more are kept until they come",
        file=DRIVERS,
        within="Pulse._tidy",
        old="if len(self._due) > 2 * len(self._next) + 100:",
        new="if not self._due:",
        tests=(f"{DRIVERS_TESTS}test_times_that_do_not_count_any_more_are_few",),
    ),
    # cancel-safe
    Patch(
        promise="cancel-safe",
        breaks="a connection whose task is cancelled stays in its rooms, with its socket open",
        file=DRIVERS,
        within="Drivers.drive",
        old="connection.lose()",
        new="pass",
        tests=(f"{DRIVERS_TESTS}test_cancelling_a_connection_s_task_aborts_it[task]",),
    ),
    Patch(
        promise="cancel-safe",
        breaks="what a connection had standing in line is done after its end",
        file=CONNECTION,
        within="Connection._end",
        old="self._waiter.withdrawn = True",
        new="pass",
        tests=(
            f"{CONNECTION_TESTS}test_a_command_that_waits_is_withdrawn_when_the_connection_ends",
        ),
    ),
    Patch(
        promise="cancel-safe",
        breaks="the task of a paused connection that is lost waits for ever",
        file=CONNECTION,
        within="Connection.lose",
        old="self._driver.resume(self)",
        new="pass",
        tests=(
            f"{DRIVERS_TESTS}test_one_that_is_lost_while_it_is_paused_ends[task]",
            f"{DRIVERS_TESTS}test_one_that_is_cut_off_while_its_replies_wait_ends[task]",
        ),
    ),
    Patch(
        promise="cancel-safe",
        breaks="a last frame that is half written is cut off",
        file=OUTLET,
        within="FrameOutlet.emptied",
        old="return self._ended and not self._own and not self._in_flight",
        new="return self._ended and not self._own",
        tests=(
            f"{OUTLET_TESTS}test_a_last_frame_that_is_on_its_way_has_not_gone",
            f"{CONNECTION_TESTS}test_a_close_frame_that_cannot_leave_yet_is_waited_for[False]",
        ),
    ),
    # no-leak
    Patch(
        promise="no-leak",
        breaks="the task of a connection that the reader reads never ends",
        file=READER,
        within="EpollReader._forget",
        old="closed.set()",
        new="pass",
        tests=(f"{DRIVERS_TESTS}test_a_peer_that_goes_is_gone",),
    ),
    Patch(
        promise="no-leak",
        breaks="the due times of one that has gone are kept",
        file=DRIVERS,
        within="Drivers.drive",
        old="self._pulse.forget(connection)",
        new="pass",
        tests=(f"{DRIVERS_TESTS}test_cancelling_a_connection_s_task_aborts_it",),
    ),
    Patch(
        promise="no-leak",
        breaks="an address of which nobody is left is remembered",
        file=LISTEN,
        within="Server._forget_address",
        old="del self._per_address[remote]",
        new="self._per_address[remote] = left",
        tests=(f"{LISTEN_TESTS}test_over_the_limit_of_an_address_it_is_429_for_that_address",),
    ),
    Patch(
        promise="no-leak",
        breaks="the place of a connection that has gone stays taken",
        file=LISTEN,
        within="Server._serve_link",
        old="self._sockets -= 1",
        new="pass",
        tests=(f"{LISTEN_TESTS}test_over_the_limit_of_connections_it_is_503_until_one_leaves",),
    ),
    Patch(
        promise="no-leak",
        breaks="the file of a Unix socket is left behind",
        file=SOCKETS,
        within="_listen_on_path",
        old="stack.callback(path.unlink, missing_ok=True)",
        new="pass",
        tests=(f"{LISTEN_TESTS}test_a_unix_socket_is_served_and_its_file_removed",),
    ),
    # drain
    Patch(
        promise="drain",
        breaks="clients are not told when to come back",
        file=LISTEN,
        within="Server.drain",
        old="connection.announce_drain(round(jitter, 2))",
        new="pass",
        tests=(f"{DRAIN_TESTS}test_each_client_is_told_and_then_closed_with_1012",),
    ),
    Patch(
        promise="drain",
        breaks="one that is slow is closed without what it is owed",
        file=LISTEN,
        within="Server._close_when_written",
        old="await connection.wait_written()",
        new="pass",
        tests=(f"{LISTEN_TESTS}test_in_a_drain_a_slow_one_holds_up_nobody_and_gets_its_backlog",),
    ),
    Patch(
        promise="drain",
        breaks="one that is slow holds up all that come after it",
        file=LISTEN,
        within="Server.drain",
        old="closing.start_soon(self._close_when_written, connection, patience)",
        new="await self._close_when_written(connection, patience)",
        tests=(f"{LISTEN_TESTS}test_in_a_drain_a_slow_one_holds_up_nobody_and_gets_its_backlog",),
    ),
    Patch(
        promise="drain",
        breaks="clients are let in while the server stops",
        file=LISTEN,
        within="Server._check_that_it_stays",
        old="if self.draining:",
        new="if self.draining is None:",
        tests=(f"{LISTEN_TESTS}test_who_was_admitted_when_the_drain_had_begun_is_refused",),
    ),
    Patch(
        promise="drain",
        breaks="one that has asked for nothing holds up the end",
        file=LISTEN,
        within="Server.drain",
        old="scope.cancel()  # whoever has asked for nothing yet",
        new="pass",
        tests=(f"{LISTEN_TESTS}test_who_has_asked_for_nothing_holds_up_no_drain",),
    ),
)
