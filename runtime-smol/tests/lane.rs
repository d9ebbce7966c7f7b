//! A lane against servers and boxes that follow a script: the cases of every runtime, and exchanges that are dropped.
#![allow(clippy::unwrap_used)]

#[path = "../../runtime-blocking/tests/lane_cases/mod.rs"]
mod lane_cases;
#[path = "../../runtime-blocking/tests/script/mod.rs"]
mod script;

use lane_cases::{HUGE, LONG, direct, zeros};
use posthole_smol::carrier::Lane;
use script::{Script, ours};
use smol::future::{FutureExt, block_on, poll_fn};
use std::io::{Read, Write};
use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::Poll;

/// A lane as the cases want it.
mod carrier {
    use bytes::Bytes;
    use posthole_protocol::wire::Chain;
    pub(crate) use posthole_smol::carrier::{Plain, ProxyChoice, Target, TlsChoice, Trouble};
    use std::sync::Arc;
    use std::time::Duration;

    #[derive(Debug)]
    pub(crate) struct Lane(posthole_smol::carrier::Lane);

    impl Lane {
        pub(crate) fn new(target: Arc<Target>) -> Lane {
            Lane(posthole_smol::carrier::Lane::new(target))
        }

        pub(crate) fn exchange(
            &mut self,
            exchange: u64,
            body: &Chain,
            patience: Duration,
            progress: &mut (dyn FnMut() + Send),
        ) -> Result<Bytes, Trouble> {
            smol::block_on(self.0.exchange(exchange, body, patience, progress))
        }

        pub(crate) fn hang_up(&mut self) {
            self.0.hang_up();
        }
    }
}

fn lane<T: Send + 'static>(server: &Script<T>) -> Lane {
    Lane::new(Arc::new(direct(&server.url("/"))))
}

#[test]
fn a_dropped_exchange_closes_its_connection_and_the_lane_takes_another() {
    for size in [10, HUGE] {
        let (arrived, has_arrived) = mpsc::channel();
        let server = Script::new(move |mut visit| {
            let is_first = visit.number == 0;
            if is_first {
                visit.head().unwrap();
                arrived.send(()).unwrap();
                // Until the connection is closed.
                let _ = visit.stream.read_to_end(&mut Vec::new());
            } else {
                visit.request().unwrap();
                visit.stream.write_all(&ours(9, b"\xf8")).unwrap();
            }
            is_first
        });
        let mut lane = lane(&server);
        let has_arrived = smol::unblock(move || has_arrived.recv().unwrap());
        let body = zeros(size);
        block_on(async {
            let exchange = async {
                let answer = lane.exchange(8, &body, LONG, &mut || {}).await;
                panic!("nobody answers: {answer:?}")
            };
            exchange.or(has_arrived).await;
            lane.exchange(9, &zeros(1), LONG, &mut || {}).await.unwrap();
        });
        drop(lane);
        assert_eq!(server.join(), [true, false]);
    }
}

/// However often an exchange was polled before it is dropped, the next one is answered. How many polls it takes to
/// the end is up to the scheduler; the first here are dropped before any, and the last come to their end.
#[test]
fn exchanges_dropped_at_any_point() {
    const LENGTH: usize = 300_000;
    let server = Script::new(|mut visit| {
        while let Some(request) = visit.request() {
            let answer = ours(request.body.len() as u64, &[0xf8; LENGTH]);
            for piece in answer.chunks(LENGTH / 20) {
                if visit.stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
    });
    let mut lane = lane(&server);
    let mut dropped = 0;
    for polls in (0..40).map(Some).chain([None]) {
        for size in [LENGTH, 10] {
            let (body, progress) = (zeros(size), &mut || {});
            let result = block_on(async {
                let mut exchange = pin!(lane.exchange(size as u64, &body, LONG, progress));
                let mut polled = 0;
                poll_fn(|cx| {
                    if Some(polled) == polls {
                        return Poll::Ready(None);
                    }
                    polled += 1;
                    exchange.as_mut().poll(cx).map(Some)
                })
                .await
            });
            match result {
                Some(answer) => {
                    assert_ne!(polls, Some(0));
                    assert_eq!(answer.unwrap().len(), LENGTH);
                }
                None => dropped += 1,
            }
            let answer = block_on(lane.exchange(7, &zeros(7), LONG, &mut || {})).unwrap();
            assert_eq!(answer.len(), LENGTH);
        }
    }
    drop(lane);
    let connections = server.join().len();
    // A drop costs one connection at the most, and the two before the first poll none.
    assert!(connections < dropped, "{connections} {dropped}");
}

#[cfg(feature = "tls")]
#[test]
fn a_handshake_can_be_dropped() {
    let (arrived, has_arrived) = mpsc::channel();
    let server = Script::new(move |mut visit: script::Visit| {
        visit.stream.read_exact(&mut [0; 1]).unwrap();
        arrived.send(()).unwrap();
        let _ = visit.stream.read_to_end(&mut Vec::new());
    });
    let target = carrier::Target::new(
        &server.url("/").replace("http:", "https:"),
        lane_cases::TAG,
        carrier::ProxyChoice::None,
        carrier::TlsChoice::Platform,
    );
    let mut lane = Lane::new(Arc::new(target.unwrap()));
    let has_arrived = smol::unblock(move || has_arrived.recv().unwrap());
    let body = zeros(1);
    block_on(async {
        let exchange = async { drop(lane.exchange(3, &body, LONG, &mut || {}).await) };
        exchange.or(has_arrived).await;
    });
    drop(lane);
    assert_eq!(server.join().len(), 1);
}

#[test]
fn an_exchange_is_a_task_for_any_executor() {
    let server = Script::new(|mut visit| {
        visit.request().unwrap();
        visit.stream.write_all(&ours(0, b"\xf8")).unwrap();
    });
    let mut lane = lane(&server);
    let task = async move { lane.exchange(0, &zeros(1), LONG, &mut || {}).await };
    let answer = block_on(smol::spawn(task));
    assert_eq!(answer.unwrap(), &b"\xf8"[..]);
}
