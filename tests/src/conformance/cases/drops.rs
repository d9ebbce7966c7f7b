//! Handles go, in any order; what was written does not.

use crate::conformance::pair::{Far, Near, Pair, anywhere, connect, listener};
use crate::conformance::runtime::{Dial, Listener, Runtime, Session, Stream};
use crate::conformance::world::{World, until};
use crate::pattern::{assert_same, pattern};
use posthole_protocol::{CloseReason, Config};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

pub fn what_was_written_arrives_though_all_handles_are_gone<W: World>() {
    // More than one exchange's worth, and nobody reads yet.
    let data = pattern(9, 700_000);
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    near.write_all(&data).unwrap();
    drop((near, pair.client));
    assert_same(&far.read_to_end().unwrap(), &data);

    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    far.write_all(&data).unwrap();
    drop((far, pair.server, pair.listener));
    assert_same(&near.read_to_end().unwrap(), &data);
}

pub fn a_clone_keeps_the_stream_open<W: World>() {
    fn keeps(near: impl Stream, far: impl Stream) {
        let clone = near.clone();
        near.write_all(b"a").unwrap();
        drop(near);
        far.read_exact(&mut [0]).unwrap();
        clone.write_all(b"b").unwrap();
        far.read_exact(&mut [0]).unwrap();
        drop(clone);
        assert_eq!(far.read(&mut [0; 8]).unwrap(), 0);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    keeps(near, far);
    let (near, far) = pair.stream();
    keeps(far, near);
}

pub fn a_dropped_stream_is_an_end_to_read_and_a_broken_pipe_to_write<W: World>() {
    fn gone<W: World>(goes: impl Stream, stays: impl Stream) {
        goes.write_all(b"bye").unwrap();
        drop(goes);
        assert_eq!(stays.read_to_end().unwrap(), b"bye");
        let error = loop {
            match stays.write(&[0; 10_000]) {
                Ok(_) => W::pause(Duration::ZERO),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    let pair = Pair::<W>::new();
    let (near, far) = pair.stream();
    gone::<W>(near, far);
    let (near, far) = pair.stream();
    gone::<W>(far, near);
}

/// A session by its handles, each of which may have gone.
struct Handles<W: World> {
    client: Option<<W::Client as Runtime>::Session>,
    server: Option<<W::Server as Runtime>::Session>,
    listener: Option<<W::Server as Runtime>::Listener>,
    near: Option<Near<W>>,
    far: Option<Far<W>>,
}

impl<W: World> Handles<W> {
    fn new(up: &[u8], down: &[u8]) -> Handles<W> {
        let pair = Pair::<W>::new();
        let (near, far) = pair.stream();
        near.write_all(up).unwrap();
        far.write_all(down).unwrap();
        Handles {
            client: Some(pair.client),
            server: Some(pair.server),
            listener: Some(pair.listener),
            near: Some(near),
            far: Some(far),
        }
    }

    /// Drops one; with a stream's end gone, the other end must have all that was written.
    fn drop(&mut self, which: usize, up: &[u8], down: &[u8]) {
        match which {
            0 => self.client = None,
            1 => self.server = None,
            2 => self.listener = None,
            3 => {
                self.near = None;
                if let Some(far) = &self.far {
                    assert_same(&far.read_to_end().unwrap(), up);
                }
            }
            _ => {
                self.far = None;
                if let Some(near) = &self.near {
                    assert_same(&near.read_to_end().unwrap(), down);
                }
            }
        }
    }
}

/// All orders of this many things.
fn orders(of: usize) -> Vec<Vec<usize>> {
    if of == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(of - 1);
    let at_all_places = |order: &Vec<usize>| -> Vec<Vec<usize>> {
        let insert = |place| {
            let mut longer = order.clone();
            longer.insert(place, of - 1);
            longer
        };
        (0..of).map(insert).collect()
    };
    shorter.iter().flat_map(at_all_places).collect()
}

pub fn handles_may_be_dropped_in_any_order<W: World>() {
    let (up, down) = (pattern(1, 20_000), pattern(2, 20_000));
    let orders = orders(5);
    assert_eq!(orders.len(), 120);
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for order in orders {
        let mut handles = Handles::<W>::new(&up, &down);
        addrs.extend(handles.listener.iter().map(Listener::addr));
        for which in order {
            handles.drop(which, &up, &down);
        }
    }
    // All end by themselves, and the ports come back.
    for addr in addrs {
        until::<W>(|| W::is_free(addr));
    }
}

pub fn sessions_end_by_themselves_when_nobody_holds_them<W: World>() {
    let listener = listener::<W>();
    for _ in 0..10 {
        let client = connect::<W>(listener.addr(), Dial::default()).unwrap();
        let server = listener.accept().unwrap();
        let near = client.open().unwrap();
        near.write_all(b"x").unwrap();
        drop((client, near, server));
    }
    until::<W>(|| listener.sessions() == 0);
}

pub fn a_dropped_listener_leaves_its_sessions_alone<W: World>() {
    let pair = Pair::<W>::new();
    let addr = pair.listener.addr();
    drop(pair.listener);
    let how = Dial {
        timeout: Duration::from_millis(300),
        ..Dial::default()
    };
    assert!(connect::<W>(addr, how).is_err());
    let near = pair.client.open().unwrap();
    near.write_all(b"still there").unwrap();
    near.finish().unwrap();
    let far = pair.server.accept().unwrap();
    assert_eq!(far.read_to_end().unwrap(), b"still there");
    drop((near, far));
    pair.client.close().unwrap();
    drop((pair.client, pair.server));
    // The last session has ended: the port comes back.
    until::<W>(|| W::is_free(addr));
}

pub fn sessions_that_nobody_accepted_end_with_the_listener<W: World>() {
    let listener = W::Server::bind(anywhere(), Config::default()).unwrap();
    let client = connect::<W>(listener.addr(), Dial::default()).unwrap();
    drop(listener);
    let reason = client.wait_closed();
    assert!(
        matches!(reason, CloseReason::Peer { code: 0, .. }),
        "{reason}"
    );
}

/// A stream that was opened but never accepted ends with the session, and its opener hears of that.
pub fn streams_that_nobody_accepted_end_with_the_session<W: World>() {
    fn unaccepted(opens: impl Session, drops: impl Session) {
        let stream = opens.open().unwrap();
        stream.write_all(b"anybody there?").unwrap();
        drop(drops);
        assert!(stream.read(&mut [0; 8]).is_err());
        assert!(opens.wait_closed().is_clean());
    }
    let pair = Pair::<W>::new();
    unaccepted(pair.client, pair.server);
    let pair = Pair::<W>::new();
    unaccepted(pair.server, pair.client);
}
