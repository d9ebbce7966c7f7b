//! Makes connections: looks up the first hop, connects, asks a proxy for a tunnel, and speaks TLS where it is due.

use super::socket::{Line, Stream, Wire};
use super::target::Target;
use super::watch::Watch;
use posthole_protocol::http::policy::connect_limit;
use posthole_protocol::http::{Trouble, Way};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::{Async, Timer};
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// A connection over which the server can be asked.
pub(super) async fn dial(target: &Target, watch: &mut Watch<'_>) -> Result<Line, Trouble> {
    reach(target, watch).await.map(Line::new)
}

/// The connection, with TLS where it is due.
pub(super) async fn reach(target: &Target, watch: &mut Watch<'_>) -> Result<Stream, Trouble> {
    let way = &target.way;
    let wire = Wire::new(open(way, watch).await?, watch.pulse.clone());
    let mut stream = Stream::Plain(wire);
    if let Some(proxy) = way.proxy().filter(|_| way.has_tls_to_proxy()) {
        stream = speak_tls(target, proxy, &proxy.host, stream, watch).await?;
    }
    if way.is_tunnelled() {
        watch
            .over(ask_for_tunnel(way, &mut stream))
            .await
            .map_err(|why: io::Error| Trouble::no_tunnel(way, &why))??;
    }
    if way.has_tls_to_server() {
        let url = way.url();
        stream = speak_tls(target, url, &url.host, stream, watch).await?;
    }
    Ok(stream)
}

/// A TCP connection to the first hop.
async fn open(way: &Way, watch: &mut Watch<'_>) -> Result<Async<TcpStream>, Trouble> {
    let (host, port) = way.first_hop();
    let addresses = watch
        .over(look_up(host, port))
        .await
        .map_err(|why: io::Error| Trouble::no_name(way, &why))?;
    first_of(way, addresses, watch.patience).await
}

/// To the first of these that takes it.
async fn first_of(
    way: &Way,
    addresses: Vec<SocketAddr>,
    patience: Duration,
) -> Result<Async<TcpStream>, Trouble> {
    let mut last = Trouble::no_address(way);
    let mut left = addresses.len();
    for address in addresses {
        left -= 1;
        match connect(address, connect_limit(left, patience)).await {
            Ok(stream) => return Ok(stream),
            Err(why) => last = Trouble::no_connection(way, &address, &why),
        }
    }
    Err(last)
}

async fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    // A lookup can't be interrupted, so it gets a thread of its own, which ends when the resolver gives up.
    let name = (host.to_owned(), port);
    smol::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
}

async fn connect(address: SocketAddr, limit: Duration) -> io::Result<Async<TcpStream>> {
    let connected = crate::io::connect(address);
    let late = async {
        Timer::after(limit).await;
        Err(ErrorKind::TimedOut.into())
    };
    let stream = smol::future::or(connected, late).await?;
    // Every write is a whole head, body or piece of one: nothing is gained by waiting for more.
    stream.get_ref().set_nodelay(true)?;
    Ok(stream)
}

async fn ask_for_tunnel(way: &Way, stream: &mut Stream) -> io::Result<Result<(), Trouble>> {
    stream.write_all(way.tunnel_request().as_bytes()).await?;
    stream.flush().await?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let amount = stream.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..amount]);
        let refused: &str = match way.tunnel_answer(&answer) {
            Ok(Some(length)) if length == answer.len() => return Ok(Ok(())),
            Ok(Some(_)) => "it goes on after its answer",
            Ok(None) if amount == 0 => "it hung up",
            Ok(None) => continue,
            Err(trouble) => return Ok(Err(trouble)),
        };
        return Ok(Err(Trouble::no_tunnel(way, &refused)));
    }
}

#[cfg(feature = "tls")]
async fn speak_tls(
    target: &Target,
    whom: &(dyn Display + Sync),
    host: &str,
    below: Stream,
    watch: &mut Watch<'_>,
) -> Result<Stream, Trouble> {
    let failed = |why: &dyn Display| Trouble::no_tls(&whom, why);
    // A target that needs TLS has it.
    let config = target.tls.as_ref().ok_or_else(|| failed(&"unprepared"))?;
    let shaken = watch.over(super::tls::connect(config, host, below)).await;
    let stream = shaken.map_err(|why: io::Error| failed(&why))?;
    Ok(Stream::Tls(Box::new(stream)))
}

#[cfg(not(feature = "tls"))]
async fn speak_tls(
    _: &Target,
    whom: &(dyn Display + Sync),
    _: &str,
    _: Stream,
    _: &mut Watch<'_>,
) -> Result<Stream, Trouble> {
    Err(Trouble::no_tls(&whom, &"this build has none"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use posthole_protocol::http::{ProxyChoice, Tag};
    use std::net::TcpListener;

    #[test]
    fn an_address_that_refuses_is_not_the_last_of_its_name() {
        let there = TcpListener::bind("127.0.0.1:0").unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let addresses = [&gone, &there].map(|listener| listener.local_addr().unwrap());
        drop(gone);
        let tag = Tag::from_bytes([1; 8]);
        let way = Way::new("http://server.example/", tag, ProxyChoice::None, |_| None).unwrap();
        let reached = first_of(&way, addresses.to_vec(), Duration::from_secs(60));
        let reached = smol::block_on(reached).map(|stream| stream.get_ref().peer_addr().unwrap());
        assert_eq!(reached.map_err(|why| why.says), Ok(addresses[1]));
    }
}
