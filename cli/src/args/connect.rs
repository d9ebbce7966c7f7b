//! What `connect` is told, and `probe`, which goes the same way.
// The comments are the text of --help, where brackets mean "may be left out".
#![allow(rustdoc::broken_intra_doc_links)]

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};
use posthole_protocol::http::{Plain, ProxyChoice};
use posthole_protocol::{Carrier, Config};
use posthole_runtime::{Direct, Options, TlsChoice};

use super::Running;
use super::values::{parse_direct, parse_proxy};
use crate::address::Destination;
use crate::forward::Forward;
use crate::reverse::Reverse;
use crate::units::parse_duration;

/// Forward local ports through a server, like ssh -L and ssh -D.
///
/// All forwards share one session. While the server can't be reached, this goes on trying, and new connections wait;
/// when the server was restarted, connections are reset and new ones go through a new session.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true), after_help = "\
Examples:
  posthole connect http://server:8080/ -L 2222:127.0.0.1:22 -L 5432:db.example.org:5432
  posthole connect https://example.org/tunnel --proxy http://user:password@proxy:3128 -L '[::1]:8000:[::1]:80'
  posthole connect http://server:8080/ -D 1080
  posthole connect http://server:8080/ -L /tmp/pg/.s.PGSQL.5432:/run/postgresql/.s.PGSQL.5432
  posthole connect http://server:8080/ -R 8000:127.0.0.1:80
  posthole connect http://server:8080/ --tcp server:8081 -L 2222:127.0.0.1:22
  ssh -o ProxyCommand='posthole connect http://server:8080/ --stdio %h:%p' somewhere

When a port is ready it says `forwarding ADDRESS` on standard error. A destination that can't be reached is a reset
of the local connection and one line here. An interrupt (Ctrl-C, SIGTERM) lets connections finish for the time of
--grace; a second one exits at once.")]
pub struct Connect {
    /// The server: http://HOST[:PORT]/PATH or https://…
    pub url: String,

    /// A local port and where it leads, as seen from the server; may be repeated
    ///
    /// BIND is the local address to listen on, by default 127.0.0.1, `*` for all; PORT 0 takes any free one. IPv6
    /// addresses stand in brackets. The path of a Unix socket may stand for [BIND:]PORT, and for HOST:HOSTPORT.
    #[arg(
        short = 'L',
        long = "forward",
        value_name = "[BIND:]PORT:HOST:HOSTPORT",
        group = "what"
    )]
    pub forward: Vec<Forward>,

    /// A local port for SOCKS 5: each connection says itself where it leads; may be repeated
    ///
    /// For browsers and whatever else knows SOCKS (`curl --proxy socks5h://127.0.0.1:1080`). Names are looked up at the
    /// server, which connects to what its --allow names and to nothing else.
    #[arg(
        short = 'D',
        long = "dynamic",
        value_name = "[BIND:]PORT",
        value_parser = Forward::anywhere,
        group = "what"
    )]
    pub dynamic: Vec<Forward>,

    /// A port at the server and where it leads, as seen from here; may be repeated
    ///
    /// Allowed by serve --allow-reverse. BIND is the server's address to listen on, by default 127.0.0.1; PORT 0 takes any
    /// free one. Who asks last for a port has it, so a client that was started anew need not wait for its old one.
    #[arg(
        short = 'R',
        long = "reverse",
        value_name = "[BIND:]PORT:HOST:HOSTPORT",
        group = "what"
    )]
    pub reverse: Vec<Reverse>,

    /// Join standard input and output to one connection there, instead of forwarding ports
    #[arg(long, value_name = "HOST:PORT", group = "what", conflicts_with_all = ["forward", "dynamic", "reverse"])]
    pub stdio: Option<Destination>,

    /// The HTTP proxy to go through, or `none`
    ///
    /// http://[USER:PASSWORD@]HOST:PORT, or https://… for TLS to the proxy itself. Without this, the environment
    /// decides as for curl: http_proxy, HTTPS_PROXY, ALL_PROXY and NO_PROXY.
    #[arg(long, value_name = "URL", value_parser = parse_proxy)]
    pub proxy: Option<ProxyChoice>,

    /// Ask the proxy for a tunnel (CONNECT) for http servers too; many proxies refuse that
    #[arg(long)]
    pub proxy_connect: bool,

    /// Where the server takes direct TCP connections, to be tried first; or `none`
    ///
    /// Without this, the server tells its port (serve --tcp), and it is used if the URL is http and no proxy leads there.
    /// Nothing on it is encrypted.
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_direct)]
    pub tcp: Option<Direct>,

    /// By what everything travels
    #[arg(long, value_enum, default_value_t)]
    pub carrier: CarrierChoice,

    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// How long one attempt to reach the server may take
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub connect_timeout: Duration,

    /// How it runs.
    #[command(flatten)]
    pub running: Running,
}

impl Connect {
    /// All local ports.
    pub fn forwards(&self) -> Vec<Forward> {
        [&self.forward[..], &self.dynamic].concat()
    }

    /// The same for the runtime.
    pub fn options(&self) -> Options {
        way(&self.proxy, self.proxy_connect, &self.ca)
            .direct(self.tcp.clone().unwrap_or_default())
            .config(Config::default().by(self.carrier.into()))
            .connect_timeout(self.connect_timeout)
    }
}

/// By what everything travels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum CarrierChoice {
    /// A direct TCP connection where one can be had; where not, HTTP, with responses that go on if they come through
    #[default]
    Auto,
    /// Direct TCP connections only
    Tcp,
    /// HTTP only, with responses that go on where they come through, from the start
    Stream,
    /// HTTP requests and whole responses only
    Exchange,
}

impl From<CarrierChoice> for Carrier {
    fn from(choice: CarrierChoice) -> Carrier {
        match choice {
            CarrierChoice::Auto => Carrier::Auto,
            CarrierChoice::Tcp => Carrier::Direct,
            CarrierChoice::Stream => Carrier::Streamed,
            CarrierChoice::Exchange => Carrier::Exchange,
        }
    }
}

/// Find out what the way to a server lets through.
///
/// Asks the server in sessions of its own how large requests and answers may be, how long one may wait, how many at
/// once, whether answers may be streamed, whether anything between changes or doubles what passes, and whether a direct
/// connection can be had, and says what that means. Some forty requests and, if nothing stands
/// in the way, about four megabytes. Exits with 0 if posthole will work, with 1 if not.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  posthole probe http://server:8080/
  posthole probe https://example.org/tunnel --proxy http://proxy:3128 --json")]
pub struct Probe {
    /// The server: http://HOST[:PORT]/PATH or https://…
    pub url: String,

    /// The HTTP proxy to go through, or `none`; as for connect
    #[arg(long, value_name = "URL", value_parser = parse_proxy)]
    pub proxy: Option<ProxyChoice>,

    /// Ask the proxy for a tunnel (CONNECT) for http servers too
    #[arg(long)]
    pub proxy_connect: bool,

    /// Trust the certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// How long requests are tried to be held at the most; all else takes a few seconds
    #[arg(long, value_name = "TIME", default_value = "65s", value_parser = parse_duration)]
    pub time: Duration,

    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

impl Probe {
    /// The way, for the runtime.
    pub fn options(&self) -> Options {
        way(&self.proxy, self.proxy_connect, &self.ca)
    }
}

/// Proxy and certificates, for the runtime.
fn way(proxy: &Option<ProxyChoice>, connect: bool, ca: &Option<PathBuf>) -> Options {
    let plain = if connect {
        Plain::Connect
    } else {
        Plain::Absolute
    };
    let tls = ca
        .clone()
        .map_or_else(TlsChoice::default, TlsChoice::CaFile);
    Options::new()
        .proxy(proxy.clone().unwrap_or_default())
        .plain(plain)
        .tls(tls)
}
