//! All cases by name, and the macro that makes tests of them.

/// Makes a `#[test]` of every case for a world.
///
/// `sockets` leaves out nothing; `memory` leaves out what only a real HTTP client can get wrong.
#[macro_export]
macro_rules! conformance {
    (sockets $world:ty) => {
        $crate::conformance!(memory $world);
        $crate::conformance! { @ $world,
            refusal: what_makes_no_sense_is_said_at_once,
        }
    };
    (memory $world:ty) => {
        $crate::conformance! { @ $world,
            bytes: an_echo_comes_back,
            bytes: keystrokes_go_back_and_forth,
            bytes: bulk_goes_both_ways_at_once,
            bytes: bulk_and_keystrokes_share_a_session,
            bytes: pieces_of_all_sizes_join,
            bytes: one_handle_reads_while_its_clone_writes,
            bytes: bytes_need_no_copy,
            bytes: what_was_peeked_is_read_all_the_same,
            bytes: the_server_opens_streams_too,
            bytes: nothing_asked_for_is_nothing_done,
            half_close: half_close_passes_through,
            half_close: a_stream_may_end_without_a_byte,
            half_close: bulk_flows_long_after_the_other_direction_has_ended,
            half_close: the_end_wakes_who_waits_for_bytes,
            reset: a_reset_is_never_a_clean_end,
            reset: a_reset_wakes_who_waits_on_the_same_stream,
            reset: who_reads_no_more_breaks_the_pipe,
            reset: both_directions_can_be_shut_at_once,
            reset: resets_leave_the_others_alone,
            drops: what_was_written_arrives_though_all_handles_are_gone,
            drops: a_clone_keeps_the_stream_open,
            drops: a_dropped_stream_is_an_end_to_read_and_a_broken_pipe_to_write,
            drops: handles_may_be_dropped_in_any_order,
            drops: sessions_end_by_themselves_when_nobody_holds_them,
            drops: a_dropped_listener_leaves_its_sessions_alone,
            drops: sessions_that_nobody_accepted_end_with_the_listener,
            drops: streams_that_nobody_accepted_end_with_the_session,
            backpressure: a_writer_waits_until_the_reader_reads,
            backpressure: both_sides_write_before_they_read,
            backpressure: bulk_passes_through_little_room,
            backpressure: one_of_two_hundred_streams_is_never_read_and_slows_no_other,
            backpressure: opening_waits_until_the_peer_allows_another_stream,
            many: streams_come_and_go,
            many: thousands_of_short_streams,
            many: five_hundred_streams_stay_open,
            many: many_clients_share_a_server,
            timeouts: a_read_waits_no_longer_than_told,
            timeouts: a_write_waits_no_longer_than_told,
            timeouts: time_outs_lose_no_byte,
            refusal: a_server_that_is_not_there_is_named,
            refusal: an_address_that_is_taken_is_an_error,
            refusal: a_session_begins_before_its_server_does,
            ending: closing_delivers_what_was_written_and_tells_the_peer,
            ending: both_sides_may_close_at_once,
            ending: an_ended_session_says_how,
            ending: an_end_wakes_all_who_wait,
            ending: a_closed_listener_ends_its_sessions,
            ending: a_listener_closed_at_once_waits_for_nobody,
            ending: a_server_that_was_restarted_ends_its_old_sessions,
            ending: a_session_counts_what_it_does,
            ending: a_listener_is_where_it_says,
            cuts: every_kind_of_harm_is_survived,
            cuts: all_kinds_of_harm_are_survived_at_any_rate,
            cuts: bytes_are_right_though_connections_are_cut_all_the_time,
            cuts: a_silence_in_mid_transfer_is_survived,
            cuts: a_path_that_is_gone_for_good_ends_the_session,
        }
    };
    (@ $world:ty, $($subject:ident: $case:ident,)*) => {$(
        #[test]
        fn $case() {
            <$world as $crate::conformance::world::World>::play(
                $crate::conformance::cases::$subject::$case::<$world>,
            );
        }
    )*};
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::path::Path;

    /// A case that no list names would never run.
    #[test]
    fn every_case_is_listed() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
        let list = fs::read_to_string(folder.join("list.rs")).unwrap();
        let mut cases = 0;
        for file in fs::read_dir(folder.join("cases")).unwrap() {
            let file = file.unwrap().path();
            let subject = file.file_stem().unwrap().to_str().unwrap();
            for line in fs::read_to_string(&file).unwrap().lines() {
                let Some(rest) = line.strip_prefix("pub fn ") else {
                    continue;
                };
                let case = rest.split('<').next().unwrap();
                let entry = format!(" {subject}: {case},\n");
                assert_eq!(list.matches(&entry).count(), 1, "{subject}: {case}");
                cases += 1;
            }
        }
        assert!(cases > 50, "{cases}");
    }
}
