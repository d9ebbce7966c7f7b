//! Servers that forget: restarts, wrong servers behind a balancer, other versions (A13, §7.4, §3.7).

use bytes::Bytes;
use posthole_protocol::wire::{AnswerPrefix, Bundle, Refusal, RequestPrefix, decode};
use posthole_protocol::{
    Client, CloseReason, Failure, Instance, Instant, Route, Router, RouterConfig, SessionId,
};
use posthole_tests::app::Script;
use posthole_tests::craft::{FakeClient, FakeServer};
use posthole_tests::fault::Fault;
use posthole_tests::pair::Pair;
use posthole_tests::{MS, SEC, settings};

fn talk() -> Pair {
    let mut pair = Pair::new(1);
    pair.serve(Script::echo(0));
    pair.client()
        .play(Script::paced(200_000, 100, 50 * MS).open_ended());
    pair.run_for(3 * SEC);
    pair
}

/// §7.4, A13: a server that was restarted does not know the session: the client ends with Gone, soon, and no byte is
/// delivered to the new process.
#[test]
fn restarted_server() {
    let mut pair = talk();
    pair.restart(0);
    let began = pair.now;
    assert!(
        pair.run_until(60 * SEC, |p| p.clients[0].closed.is_some()),
        "never told"
    );
    assert_eq!(pair.client().closed, Some(CloseReason::Gone));
    assert!(
        pair.now - began <= 15 * SEC,
        "told after {} ms",
        (pair.now - began) / MS
    );
    assert!(
        pair.hosts[0].sessions.is_empty(),
        "the new process has a session"
    );
    assert!(pair.talker().read_error.is_some());
}

/// A13, D9: a balancer that sends requests to another server for two seconds does not end the session.
#[test]
fn affinity_flaps() {
    let mut pair = talk();
    let other = pair.add_host(settings::tuned());
    let until = pair.now + 2 * SEC;
    pair.net.rule = Box::new(move |info| {
        if info.now < until {
            Fault::to(other)
        } else {
            Fault::NONE
        }
    });
    pair.run_for(40 * SEC);
    assert_eq!(pair.client().closed, None);
    assert!(pair.hosts[other].sessions.is_empty());
    let lag = pair.ledger.worst_lag();
    assert!(lag <= 8 * SEC, "a byte took {lag} us");
}

/// A13: every third request goes astray for a minute: slower, but nothing ends.
#[test]
fn affinity_is_broken() {
    let mut pair = talk();
    let other = pair.add_host(settings::tuned());
    pair.net.rule = Box::new(move |info| {
        if info.nth % 3 == 0 {
            Fault::to(other)
        } else {
            Fault::NONE
        }
    });
    pair.run_for(60 * SEC);
    assert_eq!(pair.client().closed, None);
}

/// §3.7: a server that speaks other versions only is told apart from one that can't be reached.
#[test]
fn other_versions() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    fake.refuse(Refusal::Version(2, 3));
    assert_eq!(
        fake.closed,
        Some(CloseReason::Version {
            lowest: 2,
            highest: 3
        })
    );
}

/// A26: "versions I speak" changes nothing once the session was answered.
#[test]
fn versions_change_no_live_session() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.run_for(SEC);
    fake.refuse(Refusal::Version(2, 3));
    assert_eq!(fake.closed, None);
}

/// §3.7: a request of a version that the server does not speak gets the answer that says so, and makes no session.
#[test]
fn server_names_its_versions() {
    let mut fake = FakeClient::new(settings::tuned());
    let mut body = fake.body(&[]).to_vec();
    body[1] = 9;
    fake.put(body.into());
    assert!(fake.session().is_none());
    let mut answer = fake.bodies.pop().expect("an answer");
    let said = decode::<AnswerPrefix>(&mut answer, &fake.id, Some(0));
    assert_eq!(said, Some(Ok(Bundle::Refusal(Refusal::Version(1, 1)))));
}

/// §3.7: "busy" is tried again after the time it names, and ends nothing.
#[test]
fn busy_is_tried_again() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    fake.refuse(Refusal::Busy(5_000));
    assert_eq!(fake.closed, None);
    assert_eq!(
        fake.run_for(4_900 * MS),
        0,
        "asked again before the time was up"
    );
    assert!(fake.run_for(5 * SEC) > 0, "never asked again");
}

/// §3.7: but no longer than a minute, whatever it names.
#[test]
fn busy_for_a_year_is_busy_for_a_minute() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    fake.refuse(Refusal::Busy(365 * 86_400_000));
    assert_eq!(fake.run_for(59 * SEC), 0);
    assert!(fake.run_for(2 * SEC) > 0, "it waits on");
}

/// §7.5: whoever replaces a session needs no room of its own.
#[test]
fn a_full_server_lets_in_who_replaces_one() {
    let config = RouterConfig {
        sessions: 1,
        ..settings::router()
    };
    let now = Instant::ZERO;
    let mut router = Router::new(config, Instance(1), now);
    let [old, new] = [1, 2].map(|seed| SessionId::from_bytes([seed; 16]));
    router.insert(old, "old");
    let body = |mut client: Client| client.poll_request(now).unwrap().body.into_bytes();
    let another = body(Client::new(settings::tuned(), new, now));
    assert!(matches!(router.route(now, &another), Route::Reject(_)));
    let instead = body(Client::replacing(settings::tuned(), new, old, now));
    let route = router.route(now, &instead);
    let Route::Opening { replaced, .. } = route else {
        panic!("{route:?}");
    };
    assert_eq!(replaced, Some("old"));
}

/// Another instance says that the session is gone until that is believed. How often, and for how long.
fn gone_by_another_instance(fake: &mut FakeServer) -> (u32, u64) {
    let mut told = 0;
    let began = fake.now;
    while fake.closed.is_none() {
        while !fake.open.is_empty() && fake.closed.is_none() {
            fake.refuse(Refusal::Gone(Instance(2)));
            told += 1;
        }
        fake.run_for(50 * MS);
        assert!(
            fake.now - began < 60 * SEC,
            "told {told} times and still not believed"
        );
    }
    assert_eq!(fake.closed, Some(CloseReason::Gone));
    (told, fake.now - began)
}

/// A13: "gone" by another instance than the session's is a lost exchange until repeated for three seconds.
#[test]
fn gone_by_another_instance_needs_three_seconds() {
    let mut fake = FakeServer::connected(settings::tuned());
    let (told, took) = gone_by_another_instance(&mut fake);
    assert!(took >= 3 * SEC, "believed after {} ms", took / MS);
    assert!(told >= 2);
}

/// A13: and as long when time is counted from another zero.
#[test]
fn gone_by_another_instance_needs_as_long_when_time_was_moved() {
    let took = |moved: bool| {
        let mut fake = FakeServer::connected(settings::tuned());
        fake.run_for(SEC);
        fake.refuse(Refusal::Gone(Instance(2)));
        if moved {
            let zero = fake.client.earliest();
            assert!(zero > Instant::ZERO);
            fake.client.rebase(zero);
            fake.now -= zero.as_micros();
        }
        gone_by_another_instance(&mut fake)
    };
    assert_eq!(took(false), took(true));
}

/// §7.4: "gone" by the session's own instance is believed at once.
#[test]
fn gone_by_the_own_instance_is_believed() {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.run_for(SEC);
    fake.refuse(Refusal::Gone(Instance(1)));
    assert_eq!(fake.closed, Some(CloseReason::Gone));
}

/// §3.7, S8: a server that says it speaks the very version it was asked in has read a damaged byte: a lost exchange.
#[test]
fn refusal_of_the_version_that_is_spoken() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    let before = fake.requests;
    fake.refuse(Refusal::Version(1, 1));
    assert_eq!(fake.closed, None);
    fake.run_for(5 * SEC);
    assert!(fake.requests > before, "it is not tried again");
}

/// §7.4: "gone" is no success where the session was closing, unless nothing can be missing.
#[test]
fn gone_while_closing_is_a_success_only_if_nothing_can_be_missing() {
    for (heard, end) in [(false, CloseReason::Gone), (true, CloseReason::Local)] {
        let mut fake = FakeServer::connected(settings::tuned());
        let id = fake.client.open().unwrap();
        let mut stream = fake.client.stream(id).unwrap();
        stream.write(&mut Bytes::from_static(b"hello")).unwrap();
        fake.run_for(SEC);
        if heard {
            fake.answer(&[]);
        }
        fake.client.close(0, "");
        fake.run_for(SEC);
        fake.refuse(Refusal::Gone(Instance(1)));
        assert_eq!(fake.closed, Some(end));
    }
}

/// §8.3: "ended" is said of a session that ended in order alone, also once it is only remembered.
#[test]
fn a_server_that_gave_a_session_up_says_that_it_is_gone() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.session().unwrap().machine.abort();
    fake.run_for(MS);
    for _ in 0..2 {
        fake.send(&[]);
        let mut answer = fake.bodies.pop().expect("an answer");
        let said = decode::<AnswerPrefix>(&mut answer, &fake.id, None);
        let Some(Ok(Bundle::Refusal(Refusal::Gone(_)))) = said else {
            panic!("{said:?}");
        };
        fake.host.bury_if_over(fake.now, 0);
    }
    assert_eq!(fake.host.router.len(), 0);
}

/// §7.5: whoever replaces a session says so until it is answered.
#[test]
fn who_replaces_a_session_says_so_again_when_its_opening_was_lost() {
    let mut now = Instant::ZERO;
    let [old, new] = [1, 2].map(|seed| SessionId::from_bytes([seed; 16]));
    let mut client = Client::replacing(settings::tuned(), new, old, now);
    for _ in 0..3 {
        now = client.next_timeout().map_or(now, |at| at.max(now));
        client.feed_timeout(now);
        let request = client.poll_request(now).unwrap();
        let mut body = request.body.into_bytes();
        let said = decode::<RequestPrefix>(&mut body, &new, None);
        let Some(Ok(Bundle::Session(said))) = said else {
            panic!("{said:?}");
        };
        assert_eq!(said.prefix.opening.unwrap().replaces, Some(old));
        let lost = Failure::Cut;
        client.feed_failure(now, request.exchange, lost).unwrap();
    }
}

/// §3.7: "busy" is never tried again without a pause, however short the time is that it names.
#[test]
fn busy_for_no_time_is_a_failure_like_any_other() {
    let mut fake = FakeServer::unanswered(settings::tuned());
    for _ in 0..500 {
        if !fake.open.is_empty() {
            fake.refuse(Refusal::Busy(0));
        }
        fake.run_for(10 * MS);
    }
    assert!((2..=20).contains(&fake.requests), "{}", fake.requests);
}
