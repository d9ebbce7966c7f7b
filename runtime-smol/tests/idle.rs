//! A session without traffic costs next to nothing.
#![allow(clippy::unwrap_used)]

mod support;

use posthole_smol::front::{Limits, OwnFront};
use posthole_smol::{Config, Handler, ListenOptions, Spawner, connect};
use smol::Timer;
use smol::future::poll_fn;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{bounded, options};

/// Smol's executor, with a count of how often its tasks are polled.
fn counting() -> (Spawner, Arc<AtomicU64>) {
    let polls = Arc::new(AtomicU64::default());
    let counter = polls.clone();
    let spawner = Spawner::new(move |mut task| {
        let polls = counter.clone();
        let counted = poll_fn(move |cx| {
            polls.fetch_add(1, Ordering::Relaxed);
            task.as_mut().poll(cx)
        });
        smol::spawn(counted).detach();
    });
    (spawner, polls)
}

#[test]
fn a_hold_wakes_the_servers_session_once() {
    bounded(async {
        let (spawner, polls) = counting();
        let handler = Handler::new_on(&spawner, ListenOptions::new()).unwrap();
        // Connections run elsewhere: only the session's task is counted.
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let front = OwnFront::start(socket, "/".into(), Limits::default(), handler.clone());
        let url = format!("http://{}/", front.as_ref().unwrap().local_addr());
        let wait = Duration::from_millis(100);
        let config = Config::builder().wait_first(wait).wait(wait).build();
        let client = connect(&url, options().config(config.unwrap()));
        let client = client.await.unwrap();
        let server = handler.accept().await.unwrap();
        let (polls_before, before) = (polls.load(Ordering::Relaxed), server.stats().exchanges);
        while server.stats().exchanges < before + 10 {
            Timer::after(wait).await;
        }
        let exchanges = server.stats().exchanges - before;
        let polls = polls.load(Ordering::Relaxed) - polls_before;
        assert!(polls <= exchanges + 2, "{polls} in {exchanges} exchanges");
        client.close().await.unwrap();
    });
}
