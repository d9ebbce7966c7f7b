//! `-R` on threads, both ends: one for each port that is kept, one for each port that is listened on, two for each
//! connection.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use posthole_blocking::{Session, Stream};
use socket2::SockRef;
use tracing::{debug, warn};

use super::copy::{STACK, join};
use super::dial::dial;
use super::link::Link;
use super::serve::read_preamble;
use crate::address::HostPort;
use crate::connect::{NO_DESCRIPTOR, NO_SESSION};
use crate::copy::{prepare, read_early};
use crate::error::Error;
use crate::live::{Live, Place};
use crate::preamble::{Asked, encode, encode_listen};
use crate::refusal::Refusal;
use crate::reverse::{CONNECT, Kept, Ports, Wanted};

/// Keeps these ports over whatever sessions there are.
pub(super) fn start(wanted: Vec<Wanted>, link: &Arc<Link>, live: &Arc<Live>) -> Result<(), Error> {
    if wanted.is_empty() {
        return Ok(());
    }
    let (wanted, link, live) = (Arc::new(wanted), Arc::clone(link), Arc::clone(live));
    let begun = spawn("reverse", move || {
        while !link.is_over() {
            if let Some(session) = link.session(NO_SESSION) {
                keep_all(&session, &wanted, &live);
            }
        }
    });
    begun.map_err(|e| Error::failed(format!("no thread for -R: {e}")))
}

/// Asks for all ports, and connects what comes from them until the session ends.
fn keep_all(session: &Session, wanted: &Arc<Vec<Wanted>>, live: &Arc<Live>) {
    for n in (0..wanted.len()).filter(|n| !wanted[*n].is_lost()) {
        let (session, all) = (session.clone(), Arc::clone(wanted));
        let begun = spawn("port", move || {
            let end = keep(&session, &all[n]);
            drop(session);
            all[n].ended(end.err().as_ref());
        });
        if let Err(e) = begun {
            warn!("no thread for -R: {e}");
        }
    }
    while let Ok(stream) = session.accept() {
        let Some(place) = live.enter() else {
            stream.reset(Refusal::Busy.code());
            continue;
        };
        let wanted = Arc::clone(wanted);
        if let Err(e) = spawn("up", move || connect(&stream, &wanted, place)) {
            warn!("no thread for a connection: {e}");
        }
    }
}

/// Asks for one port, and waits until the stream that keeps it has ended.
fn keep(session: &Session, wanted: &Wanted) -> io::Result<()> {
    let stream = session.open()?;
    stream.write_bytes(encode_listen(&wanted.asks()).into())?;
    let mut port = Vec::new();
    while port.len() < 2 {
        let bytes = stream.read_bytes(2 - port.len())?;
        if bytes.is_empty() {
            return Ok(());
        }
        port.extend_from_slice(&bytes);
    }
    wanted.granted(u16::from_be_bytes([port[0], port[1]]));
    while !stream.read_bytes(64)?.is_empty() {}
    Ok(())
}

/// Connects one stream of the server's to where its port leads.
fn connect(stream: &Stream, wanted: &[Wanted], place: Place) {
    let begin = || {
        let at = match read_preamble(stream) {
            Ok(Asked::Connect(at)) => at,
            Ok(Asked::Listen(_)) | Err(_) => return Err(Refusal::Preamble),
        };
        let leads = wanted.iter().find_map(|wanted| wanted.leads(&at));
        let destination = leads.ok_or(Refusal::NotAllowed)?;
        let socket = dial(destination, CONNECT).map_err(|failed| {
            warn!("-R {at}: {destination}: {failed}");
            failed.why
        })?;
        prepare(&socket).map_err(|e| Refusal::of_connect(&e))?;
        debug!("-R {at}: {destination}: connected");
        Ok(socket)
    };
    match begin() {
        Ok(socket) => drop(join(socket, stream)),
        Err(why) => stream.reset(why.code()),
    }
    drop(place);
}

/// A server's ports for its clients.
pub(super) type ServerPorts = Ports<Session, Stream>;

/// A client wants this server to listen there, for as long as `stream` is open.
pub(super) fn lease(
    stream: &Stream,
    session: &Session,
    asked: &HostPort,
    ports: &ServerPorts,
    live: &Arc<Live>,
) {
    let Ok(handle) = stream.try_clone() else {
        return;
    };
    let got = match ports.take(session, handle, asked) {
        Ok(got) => got,
        Err((why, handle)) => return handle.reset(why.code()),
    };
    let kept = got.kept;
    match got.before {
        Some(before) => before.reset(Refusal::TakenOver.code()),
        None => {
            let (accepts, live) = (Arc::clone(&kept), Arc::clone(live));
            if let Err(e) = spawn("accept", move || accept(&accepts, &live)) {
                warn!("{}: no thread to accept there: {e}", kept.at);
            }
        }
    }
    let port = Bytes::copy_from_slice(&kept.at.port().to_be_bytes());
    if stream.write_bytes(port).is_ok() {
        while stream.read_bytes(64).is_ok_and(|bytes| !bytes.is_empty()) {}
    }
    if ports.give_back(&kept, got.number) {
        // Wakes who accepts.
        let _ = SockRef::from(&kept.listener).shutdown(Shutdown::Both);
    }
}

fn accept(kept: &Arc<Kept<Session, Stream>>, live: &Arc<Live>) {
    loop {
        let accepted = kept.listener.accept();
        if kept.is_over() {
            return;
        }
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(e) => {
                debug!("{}: can't accept: {e}", kept.at);
                thread::sleep(NO_DESCRIPTOR);
                continue;
            }
        };
        if prepare(&socket).is_err() {
            continue;
        }
        let Some(place) = live.enter() else {
            continue;
        };
        let carried = Arc::clone(kept);
        if let Err(e) = spawn("up", move || carry(socket, &carried, place)) {
            warn!("{}: no thread for a connection: {e}", kept.at);
        }
    }
}

fn carry(socket: TcpStream, kept: &Kept<Session, Stream>, place: Place) {
    let mut first = encode(&kept.named());
    read_early(&socket, &mut first);
    let session = kept.session();
    let stream = session.open().and_then(|stream| {
        stream.write_bytes(first.into())?;
        Ok(stream)
    });
    drop(session);
    match stream {
        Ok(stream) => drop(join(socket, &stream)),
        Err(e) => debug!("{}: a connection refused: {e}", kept.at),
    }
    drop(place);
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let thread = thread::Builder::new().name(name.into()).stack_size(STACK);
    thread.spawn(work).map(drop)
}
