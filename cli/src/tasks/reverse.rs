//! `-R` as tasks, both ends: one for each port that is kept, one for each port that is listened on, one for each
//! connection.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use bytes::Bytes;
use posthole_smol::{Session, Stream};
use smol::{Async, Timer};
use tracing::{debug, warn};

use super::copy::join;
use super::dial::dial;
use super::link::Link;
use super::serve::read_preamble;
use crate::address::HostPort;
use crate::connect::{NO_DESCRIPTOR, NO_SESSION};
use crate::copy::{prepare, read_early};
use crate::live::{Live, Place};
use crate::preamble::{Asked, encode, encode_listen};
use crate::refusal::Refusal;
use crate::reverse::{CONNECT, Kept, Ports, Wanted};
use crate::tasks::spawn;

/// Keeps these ports over whatever sessions there are.
pub(super) fn start(wanted: Vec<Wanted>, link: &Arc<Link>, live: &Arc<Live>) {
    if wanted.is_empty() {
        return;
    }
    let (wanted, link, live) = (Arc::new(wanted), Arc::clone(link), Arc::clone(live));
    let keeping = async move {
        while !link.is_over() {
            if let Some(session) = link.session(NO_SESSION).await {
                keep_all(&session, &wanted, &live).await;
            }
        }
    };
    spawn(keeping);
}

/// Asks for all ports, and connects what comes from them until the session ends.
async fn keep_all(session: &Session, wanted: &Arc<Vec<Wanted>>, live: &Arc<Live>) {
    for n in (0..wanted.len()).filter(|n| !wanted[*n].is_lost()) {
        let (session, all) = (session.clone(), Arc::clone(wanted));
        let kept = async move {
            let end = keep(&session, &all[n]).await;
            drop(session);
            all[n].ended(end.err().as_ref());
        };
        spawn(kept);
    }
    while let Ok(stream) = session.accept().await {
        match live.enter() {
            Some(place) => spawn(connect(stream, Arc::clone(wanted), place)),
            None => stream.reset(Refusal::Busy.code()),
        }
    }
}

/// Asks for one port, and waits until the stream that keeps it has ended.
async fn keep(session: &Session, wanted: &Wanted) -> io::Result<()> {
    let stream = session.open().await?;
    let asks = Bytes::from(encode_listen(&wanted.asks()));
    stream.write_bytes(asks).await?;
    let mut port = Vec::new();
    while port.len() < 2 {
        let bytes = stream.read_bytes(2 - port.len()).await?;
        if bytes.is_empty() {
            return Ok(());
        }
        port.extend_from_slice(&bytes);
    }
    wanted.granted(u16::from_be_bytes([port[0], port[1]]));
    while !stream.read_bytes(64).await?.is_empty() {}
    Ok(())
}

/// Connects one stream of the server's to where its port leads.
async fn connect(stream: Stream, wanted: Arc<Vec<Wanted>>, place: Place) {
    let begin = async {
        let at = match read_preamble(&stream).await {
            Ok(Asked::Connect(at)) => at,
            Ok(Asked::Listen(_)) | Err(_) => return Err(Refusal::Preamble),
        };
        let leads = wanted.iter().find_map(|wanted| wanted.leads(&at));
        let destination = leads.ok_or(Refusal::NotAllowed)?;
        let socket = dial(destination, CONNECT).await.map_err(|failed| {
            warn!("-R {at}: {destination}: {failed}");
            failed.why
        })?;
        prepare(&socket).map_err(|e| Refusal::of_connect(&e))?;
        debug!("-R {at}: {destination}: connected");
        Ok(socket)
    };
    match begin.await {
        Ok(socket) => drop(join(socket, &stream).await),
        Err(why) => stream.reset(why.code()),
    }
    drop(place);
}

/// A server's ports for its clients.
pub(super) type ServerPorts = Ports<Session, Stream>;

/// A client wants this server to listen there, for as long as `stream` is open.
pub(super) async fn lease(
    stream: &Stream,
    session: &Session,
    asked: &HostPort,
    ports: &ServerPorts,
    live: &Arc<Live>,
) {
    let got = match ports.take(session, stream.clone(), asked) {
        Ok(got) => got,
        Err((why, handle)) => return handle.reset(why.code()),
    };
    let kept = got.kept;
    match got.before {
        Some(before) => before.reset(Refusal::TakenOver.code()),
        None => spawn(accept(Arc::clone(&kept), Arc::clone(live))),
    }
    let port = Bytes::copy_from_slice(&kept.at.port().to_be_bytes());
    if stream.write_bytes(port).await.is_ok() {
        while stream.read_bytes(64).await.is_ok_and(|b| !b.is_empty()) {}
    }
    ports.give_back(&kept, got.number);
}

async fn accept(kept: Arc<Kept<Session, Stream>>, live: Arc<Live>) {
    let listener = match kept.listener.try_clone().and_then(Async::new) {
        Ok(listener) => listener,
        Err(e) => return warn!("{}: can't wait there: {e}", kept.at),
    };
    loop {
        let over = kept.over.listen();
        if kept.is_over() {
            return;
        }
        let over = async {
            over.await;
            None
        };
        let socket = match smol::future::or(async { Some(listener.accept().await) }, over).await {
            None => continue,
            Some(Ok((socket, _))) => socket,
            Some(Err(e)) => {
                debug!("{}: can't accept: {e}", kept.at);
                Timer::after(NO_DESCRIPTOR).await;
                continue;
            }
        };
        if prepare(&socket).is_err() {
            continue;
        }
        if let Some(place) = live.enter() {
            spawn(carry(socket, Arc::clone(&kept), place));
        }
    }
}

async fn carry(socket: Async<TcpStream>, kept: Arc<Kept<Session, Stream>>, place: Place) {
    let mut first = encode(&kept.named());
    read_early(&socket, &mut first);
    let session = kept.session();
    let stream = async {
        let stream = session.open().await?;
        stream.write_bytes(first.into()).await?;
        Ok::<_, io::Error>(stream)
    };
    let stream = stream.await;
    drop(session);
    match stream {
        Ok(stream) => drop(join(socket, &stream).await),
        Err(e) => debug!("{}: a connection refused: {e}", kept.at),
    }
    drop(place);
}
