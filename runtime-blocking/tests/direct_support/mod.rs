//! For tests of direct connections on either runtime: a relay that does harm, and clients made by hand.
#![allow(dead_code, unreachable_pub)]

use posthole_protocol::wire::{RequestPrefix, encode};
use posthole_protocol::{Carrier, Client, Config, Duration, Instant, SessionId};
use socket2::{Domain, SockRef, Socket, Type};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;

/// Stands between a client and the port for direct connections.
pub struct Relay {
    pub addr: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Connections made so far, directions still served, and how often all were cut.
    made: AtomicUsize,
    open: AtomicUsize,
    cuts: AtomicUsize,
    /// Bytes passed on.
    moved: AtomicUsize,
    /// Nothing is read or written.
    is_hole: AtomicBool,
    /// Little is passed on at a time.
    is_slow: AtomicBool,
    /// It has gone.
    is_over: AtomicBool,
}

impl Relay {
    pub fn to(target: SocketAddr) -> Relay {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State::default());
        let own = state.clone();
        thread::spawn(move || {
            for near in listener.incoming() {
                if own.is_over.load(SeqCst) {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, TcpStream::connect(target)) else {
                    continue;
                };
                own.made.fetch_add(1, SeqCst);
                own.open.fetch_add(2, SeqCst);
                let cuts = own.cuts.load(SeqCst);
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = own.clone();
                    thread::spawn(move || {
                        state.pump(&from, &to, cuts);
                        state.open.fetch_sub(1, SeqCst);
                    });
                }
            }
        });
        Relay { addr, state }
    }

    /// How many connections were made.
    pub fn made(&self) -> usize {
        self.state.made.load(SeqCst)
    }

    /// How many of them there are.
    pub fn open(&self) -> usize {
        self.state.open.load(SeqCst).div_ceil(2)
    }

    /// Whether all of them have ended.
    pub fn is_idle(&self) -> bool {
        self.state.open.load(SeqCst) == 0
    }

    /// How many bytes were passed on.
    pub fn moved(&self) -> usize {
        self.state.moved.load(SeqCst)
    }

    /// Resets all connections.
    pub fn cut(&self) {
        self.state.cuts.fetch_add(1, SeqCst);
    }

    /// Neither reads nor writes from now on, and closes nothing.
    pub fn swallow(&self) {
        self.state.is_hole.store(true, SeqCst);
    }

    /// Passes on some 60 kB in a second from now on.
    pub fn slow_down(&self) {
        self.state.is_slow.store(true, SeqCst);
    }

    /// Does again what a relay does.
    pub fn pass_on(&self) {
        self.state.is_hole.store(false, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.state.is_over.store(true, SeqCst);
        let _ = TcpStream::connect(self.addr);
    }
}

impl State {
    fn pump(&self, mut from: &TcpStream, mut to: &TcpStream, cuts: usize) {
        let pause = Duration::from_millis(2);
        from.set_read_timeout(Some(pause)).unwrap();
        let mut room = vec![0; 64 * 1024];
        loop {
            if self.cuts.load(SeqCst) > cuts || self.is_over.load(SeqCst) {
                for stream in [from, to] {
                    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
                    // Wakes the other direction, whose end then is the reset.
                    let _ = stream.shutdown(Shutdown::Read);
                }
                return;
            }
            if self.is_hole.load(SeqCst) {
                thread::sleep(pause);
                continue;
            }
            let room = if self.is_slow.load(SeqCst) {
                thread::sleep(pause * 5);
                &mut room[..600]
            } else {
                &mut room[..]
            };
            let amount = match from.read(room) {
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    continue;
                }
                Ok(amount @ 1..) => amount,
                Ok(_) | Err(_) => {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
            };
            if to.write_all(&room[..amount]).is_err() {
                let _ = from.shutdown(Shutdown::Both);
                return;
            }
            self.moved.fetch_add(amount, SeqCst);
        }
    }
}

/// A socket for direct connections whose senders have next to no buffer.
pub fn narrow() -> TcpListener {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&socket).set_send_buffer_size(4096).unwrap();
    socket
}

pub fn by(carrier: Carrier) -> Config {
    Config::builder().carrier(carrier).build().unwrap()
}

/// The first bundle of a client that has no HTTP at all, as the wire bears it. `seed` makes it another's.
pub fn first_bundle(seed: u8) -> Vec<u8> {
    let id = SessionId::from_bytes([seed; 16]);
    let mut client = Client::new(by(Carrier::Direct), id, Instant::ZERO);
    client.knows_direct(Instant::ZERO, Duration::ZERO);
    assert!(client.poll_dial().is_some());
    client.feed_dialled(Instant::ZERO).unwrap();
    let request = client.poll_request(Instant::ZERO).unwrap();
    request.body.into_bytes().to_vec()
}

/// Asks by HTTP for a session, and then for something that harm came to on its way. The answer's status line.
pub fn answer_to_a_harmed_request(to: SocketAddr) -> String {
    let id = SessionId::from_bytes([1; 16]);
    let mut client = Client::new(by(Carrier::Exchange), id, Instant::ZERO);
    let mut body = client
        .poll_request(Instant::ZERO)
        .unwrap()
        .body
        .into_bytes();
    assert!(post(to, &body).contains(" 200 "));
    let mut harmed = body.split_off(0).to_vec();
    *harmed.last_mut().unwrap() ^= 1;
    post(to, &harmed)
}

fn post(to: SocketAddr, body: &[u8]) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

/// Sends these bytes to the port, and waits until the server has closed the connection. What it said.
pub fn say(to: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(bytes).unwrap();
    let (mut said, mut room) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut room) {
            Ok(0) => return said,
            Ok(amount) => said.extend_from_slice(&room[..amount]),
            // A reset: it did not read all of it.
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                return said;
            }
        }
    }
}

/// Whether the port closes a connection that says nothing within ten seconds.
pub fn is_hung_up(to: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(to).unwrap();
    let patience = Some(std::time::Duration::from_secs(10));
    stream.set_read_timeout(patience).unwrap();
    match stream.read(&mut [0]) {
        Ok(amount) => amount == 0,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}

/// Takes what is said last on a connection. Whether more may be sent after that, and is no reset's cause.
pub fn may_go_on(mut stream: TcpStream) -> bool {
    let mut said = Vec::new();
    stream.read_to_end(&mut said).is_ok()
        && (0..3).all(|_| {
            thread::sleep(std::time::Duration::from_millis(50));
            stream.write_all(b"x").is_ok()
        })
}

/// What is no beginning of a session.
pub fn garbage() -> Vec<Vec<u8>> {
    let mut cut = first_bundle(9);
    cut.truncate(cut.len() - 1);
    let noise = (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8);
    vec![
        Vec::new(),
        vec![0; 100_000],
        noise.collect(),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        cut[..5].to_vec(),
        cut,
    ]
}

/// The beginning of a bundle that is said to be so long, and so many bytes of it.
pub fn beginning(length: u32, bytes: usize) -> Vec<u8> {
    let mut bundle = first_bundle(9);
    bundle[4..8].copy_from_slice(&length.to_be_bytes());
    bundle.resize(bytes, 0);
    bundle
}

/// A bundle of a session that its server does not know, and that begins none.
pub fn unknown_bundle() -> Vec<u8> {
    let id = SessionId::from_bytes([8; 16]);
    let bundle = encode(&id, 1, 5, &RequestPrefix::default(), &[]);
    bundle.into_bytes().to_vec()
}

/// Begins a session, and goes on with a bundle that was harmed on its way. What the server says to that.
pub fn answer_to_a_harmed_bundle(to: SocketAddr) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).unwrap();
    let mut bundle = first_bundle(1);
    stream.write_all(&bundle).unwrap();
    let mut head = [0; 8];
    stream.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes(head[4..].try_into().unwrap());
    let mut rest = vec![0; usize::try_from(length).unwrap() - head.len()];
    stream.read_exact(&mut rest).unwrap();
    *bundle.last_mut().unwrap() ^= 1;
    stream.write_all(&bundle).unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).unwrap();
    said
}

/// Sends these bytes at once, and then others one by one, for ten seconds at most. Whether the port closes the connection
/// meanwhile.
pub fn is_closed_though_bytes_come(to: SocketAddr, first: &[u8], then: &[u8]) -> bool {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.write_all(first).unwrap();
    let pause = Some(std::time::Duration::from_millis(20));
    stream.set_read_timeout(pause).unwrap();
    then.iter().take(500).any(|byte| {
        let is_sent = stream.write_all(&[*byte]).is_ok();
        match stream.read(&mut [0; 4096]) {
            Ok(amount) => amount == 0,
            Err(e) => !is_sent || !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    })
}

/// A socket that has an address and does not listen: whoever connects to it is refused.
pub fn deaf() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    socket.bind(&any.into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

/// Takes one connection and says nothing on it. Whether the client closes it, within half a minute.
pub fn is_left_by_its_client(listener: &TcpListener) -> bool {
    let mut stream = listener.accept().unwrap().0;
    let patience = Some(std::time::Duration::from_secs(30));
    stream.set_read_timeout(patience).unwrap();
    match stream.read_to_end(&mut Vec::new()) {
        Ok(_) => true,
        Err(error) => error.kind() == ErrorKind::ConnectionReset,
    }
}
