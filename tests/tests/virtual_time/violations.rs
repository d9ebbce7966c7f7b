//! A peer that breaks a rule ends its session, with that rule's name (§8.4); one test for each.

use bytes::Bytes;
use posthole_protocol::wire::{Content, Control, Message, Refusal, refusal, varint};
use posthole_protocol::{CloseReason, Instant, RequestId, ResetCode, StreamId, Violation};
use posthole_tests::craft::{FakeClient, FakeServer, ack, data, last};
use posthole_tests::{SEC, settings};

/// Beyond all credit.
const FAR: u64 = 1 << 40;

/// Whether the client was told that it broke this rule.
fn is_told(fake: &FakeClient, violation: Violation) -> bool {
    let is_it = |content| matches!(content, Content::Control(Control::Close { code, .. }) if code == violation.code());
    let mut messages = fake.answers.iter().flat_map(|a| a.messages.clone());
    messages.any(|(_, message)| is_it(message.content))
}

/// What the server says of these messages.
fn at_server(contents: &[Content]) -> Option<CloseReason> {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.send(contents);
    fake.run_for(SEC);
    if let Some(CloseReason::Violation(violation)) = fake.closed() {
        assert!(
            is_told(&fake, violation),
            "the client is not told that it broke a rule: {violation}"
        );
    }
    fake.closed()
}

/// What the client says of these messages.
fn at_client(contents: &[Content]) -> Option<CloseReason> {
    let mut fake = FakeServer::connected(settings::tuned());
    fake.answer(contents);
    fake.last_words();
    fake.closed.clone()
}

/// A violation ends either role's session the same way; `client` are the messages of a fake client, `server` those
/// of a fake server.
fn both(violation: Violation, client: &[Content], server: &[Content]) {
    let expected = Some(CloseReason::Violation(violation));
    assert_eq!(at_server(client), expected, "at the server");
    assert_eq!(at_client(server), expected, "at the client");
}

fn reset(stream: u64, size: u64) -> Content {
    Content::Control(Control::Reset {
        stream: StreamId::from_number(stream),
        code: ResetCode(1),
        size,
    })
}

/// §8.4: one side's word that a rule was broken waits for no message before it, any other end for all of them.
#[test]
fn the_end_for_a_broken_rule_waits_for_nothing() {
    for (code, waits) in [(0, true), (255, true), (257, false)] {
        let close = Content::Control(Control::Close {
            code,
            reason: String::new(),
        });
        // The message before it has not come.
        let mut fake = FakeClient::connected(settings::tuned());
        fake.message += 1;
        fake.send(std::slice::from_ref(&close));
        fake.run_for(SEC);
        assert_eq!(fake.closed().is_none(), waits, "{code} at the server");
        let mut fake = FakeServer::connected(settings::tuned());
        fake.message += 1;
        fake.answer(&[close]);
        fake.last_words();
        assert_eq!(fake.closed.is_none(), waits, "{code} at the client");
    }
}

/// §8.4: in place of the end that was to be said.
#[test]
fn a_rule_that_is_broken_while_the_session_closes_is_told() {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.session().unwrap().machine.close(7, "");
    fake.send(&[data(0, FAR, b"x")]);
    fake.run_for(SEC);
    let broken = Violation::Credit;
    assert_eq!(fake.closed(), Some(CloseReason::Violation(broken)));
    assert!(is_told(&fake, broken));
}

/// What was dropped for it had counted as delivered.
#[test]
fn a_rule_that_is_broken_after_the_end_was_said_makes_it_no_success() {
    let mut fake = FakeServer::connected(settings::tuned());
    let id = fake.client.open().unwrap();
    let mut stream = fake.client.stream(id).unwrap();
    stream.write(&mut Bytes::from_static(b"hello")).unwrap();
    fake.client.close(0, "");
    let heard = fake.prefix.ack.clone();
    fake.run_for(SEC);
    let close = Content::Control(Control::Close {
        code: 0,
        reason: String::new(),
    });
    for content in [close, data(1, FAR, b"x")] {
        assert_eq!(fake.closed, None);
        fake.prefix.ack = heard.clone();
        fake.answer(&[content]);
    }
    let broken = CloseReason::Violation(Violation::Credit);
    assert_eq!(fake.closed, Some(broken));
}

/// Whoever broke it has hung up: there is nobody to tell, and it is why the session ends all the same.
#[test]
fn a_rule_that_is_broken_ends_the_session_though_nobody_can_be_told() {
    let mut fake = FakeClient::connected(settings::tuned());
    // No other request is held any more.
    fake.run_for(20 * SEC);
    let (now, request) = (Instant::from_micros(fake.now), RequestId::new(1_000));
    let body = fake.body(&[data(0, FAR, b"x")]);
    let server = &mut fake.session().unwrap().machine;
    server.feed_request(now, request, body).unwrap();
    server.feed_hangup(now, request);
    fake.run_for(60 * SEC);
    let broken = CloseReason::Violation(Violation::Credit);
    assert_eq!(fake.closed(), Some(broken));
}

/// Whatever is heard before it can be told: a server that has ended in order would have made it a success.
#[test]
fn a_rule_that_is_broken_is_why_the_session_ends() {
    let mut fake = FakeServer::connected(settings::tuned());
    let id = fake.client.open().unwrap();
    let mut stream = fake.client.stream(id).unwrap();
    stream.write(&mut Bytes::from_static(b"hello")).unwrap();
    fake.run_for(SEC);
    let now = Instant::from_micros(fake.now);
    let [(first, _), (second, _)] = [0, 0].map(|oldest| fake.take(oldest).unwrap());
    let broken = Message {
        number: fake.message,
        content: data(1, FAR, b"x"),
    };
    let body = fake.body_of(first, &[broken]);
    fake.client.feed_response(now, first, body).unwrap();
    let ended = refusal(&fake.client.id(), second.number(), Refusal::Ended(1_000));
    let ended = ended.into_bytes();
    fake.client.feed_response(now, second, ended).unwrap();
    fake.collect();
    let broken = CloseReason::Violation(Violation::Credit);
    assert_eq!(fake.closed, Some(broken));
}

/// §6.3: data beyond the credit.
#[test]
fn credit() {
    both(
        Violation::Credit,
        &[data(0, FAR, b"x")],
        &[data(1, FAR, b"x")],
    );
}

/// §6.3: a final size beyond the credit, in a fin or a reset.
#[test]
fn credit_by_final_size() {
    both(
        Violation::Credit,
        &[last(0, FAR, b"")],
        &[last(1, FAR, b"")],
    );
    both(Violation::Credit, &[reset(0, FAR)], &[reset(1, FAR)]);
}

/// §6.1: a stream beyond the number allowed.
#[test]
fn stream_count() {
    both(
        Violation::StreamCount,
        &[data(2_000_000, 0, b"x")],
        &[data(2_000_001, 0, b"x")],
    );
}

/// §6.1: a stream that is the other side's to open, and was not.
#[test]
fn stream_of_the_other_side() {
    both(
        Violation::StreamCount,
        &[data(1, 0, b"x")],
        &[data(0, 0, b"x")],
    );
}

/// §6.5: two final sizes; data beyond one.
#[test]
fn final_size() {
    both(
        Violation::FinalSize,
        &[last(0, 0, b"ab"), last(0, 0, b"abc")],
        &[last(1, 0, b"ab"), last(1, 0, b"abc")],
    );
    both(
        Violation::FinalSize,
        &[last(0, 0, b"ab"), data(0, 2, b"c")],
        &[last(1, 0, b"ab"), data(1, 2, b"c")],
    );
    both(
        Violation::FinalSize,
        &[last(0, 0, b"ab"), reset(0, 1)],
        &[last(1, 0, b"ab"), reset(1, 1)],
    );
    both(
        Violation::FinalSize,
        &[data(0, 0, b"abc"), last(0, 0, b"ab")],
        &[data(1, 0, b"abc"), last(1, 0, b"ab")],
    );
}

/// §6.2: an offset beyond 2^62.
#[test]
fn offset() {
    let end = varint::LIMIT - 4;
    let (server, client) = (
        at_server(&[data(0, end, b"xyz")]),
        at_client(&[data(1, end, b"xyz")]),
    );
    // Such a bundle may also be taken for unreadable as a whole (§3.6); it may not be delivered.
    for reason in [server, client].into_iter().flatten() {
        let allowed = [Violation::Offset, Violation::Credit].map(CloseReason::Violation);
        assert!(allowed.contains(&reason), "{reason:?}");
    }
}

/// §4.4: an acknowledgement of what was never sent, by its end or by a range.
#[test]
fn acknowledgement() {
    let expected = Some(CloseReason::Violation(Violation::Acknowledgement));
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.ack = ack(1_000);
    fake.send(&[]);
    fake.run_for(SEC);
    assert_eq!(fake.closed(), expected);
    let mut fake = FakeClient::connected(settings::tuned());
    fake.prefix.ack.ranges.push(5_000..5_001);
    fake.send(&[]);
    fake.run_for(SEC);
    assert_eq!(fake.closed(), expected);
    let mut fake = FakeServer::connected(settings::tuned());
    fake.prefix.ack = ack(1_000);
    fake.answer(&[]);
    fake.last_words();
    assert_eq!(fake.closed, expected);
}

/// The bytes of an honest bundle in which one control message is replaced: `wire` refuses to make the false one.
fn patched(control: u64, fields: &[u8], must: bool) -> Bytes {
    let mut fake = FakeClient::connected(settings::tuned());
    // A void message is one header of two bytes at the bundle's end: flags and kind, then the number.
    let honest = fake.body(&[Content::Void]).to_vec();
    let mut bytes = honest[..honest.len() - 2].to_vec();
    let flags = if must { 0x80 } else { 0 };
    bytes.extend_from_slice(&[0x10 | flags | 2, 0, control as u8, fields.len() as u8]);
    bytes.extend_from_slice(fields);
    posthole_tests::craft::seal(&fake.id, bytes)
}

fn at_server_raw(control: u64, fields: &[u8], must: bool) -> Option<CloseReason> {
    let mut fake = FakeClient::connected(settings::tuned());
    fake.put(patched(control, fields, must));
    fake.run_for(SEC);
    fake.closed()
}

/// §3.6: a control message that must be understood and is not.
#[test]
fn not_understood() {
    assert_eq!(
        at_server_raw(60, &[1, 2, 3], true),
        Some(CloseReason::Violation(Violation::NotUnderstood))
    );
}

/// §3.6: one that need not be understood is skipped.
#[test]
fn unknown_control_is_skipped() {
    assert_eq!(at_server_raw(60, &[1, 2, 3], false), None);
}

/// §3.6: a control message of a known kind whose fields don't parse.
#[test]
fn malformed() {
    for (control, fields) in [
        (1u64, &[0u8][..]),
        (2, &[]),
        (3, &[0, 0, 0, 0]),
        (4, &[0]),
        (5, &[]),
    ] {
        let reason = at_server_raw(control, fields, true);
        assert_eq!(
            reason,
            Some(CloseReason::Violation(Violation::Malformed)),
            "control {control}"
        );
    }
}

/// L7: a violation by one session ends that one and no other, and the violator is told.
#[test]
fn neighbours_live_on() {
    use posthole_tests::{app::Script, pair::Pair};
    let mut pair = Pair::many(1, 2, settings::tuned(), settings::tuned());
    pair.serve(Script::echo(0));
    for end in &mut pair.clients {
        end.play(Script::paced(2_000, 100, 50_000));
    }
    pair.run_for(300_000);
    let id = pair.clients[0].machine.id();
    let mut fake = FakeClient::new(settings::tuned());
    fake.id = id;
    // As if the client itself had said it in its next request.
    fake.exchange = pair.net.tally.exchanges(0);
    fake.bundle = fake.exchange;
    fake.prefix.opening = None;
    fake.prefix.ack = ack(1_000);
    let body = fake.body(&[]);
    pair.inject(0, body);
    pair.run_for(30 * SEC);
    let closed = |p: &Pair, client: usize| {
        p.hosts[0]
            .sessions
            .iter()
            .find(|end| end.session == client)
            .unwrap()
            .closed
            .clone()
    };
    let broken = Violation::Acknowledgement;
    assert_eq!(closed(&pair, 0), Some(CloseReason::Violation(broken)));
    assert_eq!(closed(&pair, 1), None);
    let client = pair.clients[0].closed.clone().expect("it can't go on");
    assert!(!client.is_clean(), "{client:?}");
    assert!(pair.clients[1].is_done());
}

/// To the last byte and stream: what is allowed is no violation, and one more is.
#[test]
fn every_bound_is_exact() {
    const OWN: u64 = 16_384;
    let pool = settings::tuned().receive_bound() - 2 * 2048 * OWN;
    let fine = |client: &[Content], server: &[Content]| {
        assert_eq!((at_server(client), at_client(server)), (None, None));
    };
    let most = OWN + pool;
    fine(&[data(0, most - 1, b"x")], &[data(1, most - 1, b"x")]);
    both(
        Violation::Credit,
        &[data(0, most, b"x")],
        &[data(1, most, b"x")],
    );
    fine(&[reset(0, most)], &[reset(1, most)]);
    both(
        Violation::Credit,
        &[reset(0, most + 1)],
        &[reset(1, most + 1)],
    );
    let last_stream = 2 * 2047;
    fine(
        &[data(last_stream, 0, b"x")],
        &[data(last_stream + 1, 0, b"x")],
    );
    both(
        Violation::StreamCount,
        &[data(last_stream + 2, 0, b"x")],
        &[data(last_stream + 3, 0, b"x")],
    );
    fine(
        &[data(0, 5, b"abc"), last(0, 8, b"")],
        &[data(1, 5, b"abc"), last(1, 8, b"")],
    );
    both(
        Violation::FinalSize,
        &[data(0, 5, b"abc"), last(0, 7, b"")],
        &[data(1, 5, b"abc"), last(1, 7, b"")],
    );
    // So many parts with gaps between them.
    let parts = |stream, count| -> Vec<Content> {
        (0..count).map(|n| data(stream, 2 * n + 1, b"x")).collect()
    };
    fine(&parts(0, 256), &parts(1, 256));
    both(Violation::Scattered, &parts(0, 257), &parts(1, 257));
    both(
        Violation::FinalSize,
        &[last(0, 0, b"ab"), data(0, 1, b"xy")],
        &[last(1, 0, b"ab"), data(1, 1, b"xy")],
    );
}

/// C8: after a violation, what the application still does to the streams is said to nobody: a peer's offset near 2^62 had
/// made a credit that can't be written.
#[test]
fn an_application_that_goes_on_after_a_violation() {
    let far = (1 << 62) - 2;
    let mut fake = FakeClient::connected(settings::tuned());
    let id = StreamId::from_number(0);
    let act = |fake: &mut FakeClient, act: fn(posthole_protocol::Stream<'_>)| {
        let server = &mut fake.session().unwrap().machine;
        server.stream(id).into_iter().for_each(act);
        fake.send(&[]);
        fake.run_for(SEC);
    };
    fake.send(&[data(0, 0, b"x")]);
    act(&mut fake, |mut stream| stream.stop(ResetCode(1)));
    fake.send(&[last(0, far, b"")]);
    act(&mut fake, |mut stream| stream.reset(ResetCode(2)));
    act(&mut fake, |mut stream| drop(stream.read(100)));
    let violation = CloseReason::Violation(Violation::Credit);
    assert_eq!(fake.closed(), Some(violation));
}

/// A8: whoever may be a copy is told nothing of what it brings, but that it broke a rule.
#[test]
fn who_may_be_a_copy_and_breaks_a_rule_is_told_so() {
    let mut fake = FakeClient::new(settings::tuned());
    // To a server that has just started, which can't know what it forgot.
    fake.now = SEC;
    fake.send(&[data(0, FAR, b"x")]);
    fake.run_for(SEC);
    let broken = Violation::Credit;
    assert!(is_told(&fake, broken));
    assert_eq!(fake.closed(), Some(CloseReason::Violation(broken)));
}
