//! The command line: what can be said, how it is explained, and nothing of what it does.
// The comments are the text of --help, where brackets mean "may be left out".
#![allow(rustdoc::broken_intra_doc_links)]

mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, ArgGroup, Args, Parser, Subcommand, ValueEnum};
use posthole_protocol::http::{Plain, ProxyChoice};
use posthole_protocol::{Carrier, Config};
use posthole_runtime::{Direct, Options, TlsChoice};

use values::{parse_direct, parse_idle, parse_mode, parse_path, parse_proxy};

use crate::address::Destination;
use crate::allow::Pattern;
use crate::bench::{Load, Part, System};
use crate::forward::Forward;
use crate::reverse::Reverse;
use crate::runtime::Runtime;
use crate::units::{parse_duration, parse_percent, parse_size};

/// TCP connections through networks that let only HTTP out.
///
/// Run `posthole serve` where the destinations can be reached and `posthole connect` behind the proxy or firewall.
/// Every byte travels in plain HTTP requests that the client begins; connections live on when requests are lost,
/// answered with error pages, cut, doubled, or when the proxy is restarted.
#[derive(Debug, Parser)]
#[command(name = "posthole", version, max_term_width = 100, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,

    /// Say more: once for every connection, twice for every exchange
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 100)]
    pub verbose: u8,

    /// Say only what is needed: that it is ready, and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        display_order = 101
    )]
    pub quiet: bool,
}

const EXAMPLES: &str = "\
Examples:
  See it work, through a proxy that harms every tenth request:
      posthole demo

  ssh through a company's web proxy. On a machine outside:
      posthole serve --listen 0.0.0.0:8080 --allow 127.0.0.1:22
  and inside:
      posthole connect http://outside.example.org:8080/ --proxy http://proxy:3128 -L 2222:127.0.0.1:22
      ssh -p 2222 localhost

  `posthole COMMAND --help` explains each command. Sizes are written like 64MiB, times like 500ms, 5s, 2m.";

/// The commands.
// A comment here would take the place of the longer one at the arguments.
#[allow(missing_docs)]
#[derive(Debug, Subcommand)]
pub enum Command {
    Serve(Serve),
    Connect(Connect),
    Probe(Probe),
    Cgi(Cgi),
    Demo(Demo),
    Bench(Bench),
    /// What `bench` starts
    #[command(subcommand, hide = true)]
    BenchPart(Part),
}

/// Connect clients' streams to the destinations that are allowed.
///
/// Whoever reaches this server can connect to what --allow names, as this machine; there is no other access control.
/// Put it behind a reverse proxy for TLS or passwords.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  posthole serve --allow 127.0.0.1:22
  posthole serve --listen 0.0.0.0:8080 --path /tunnel --allow '*.db.example.org:5432' --allow '[::1]:*'

When it is ready it says `listening on http://ADDRESS` on standard error. An interrupt (Ctrl-C, SIGTERM) lets
connections finish for the time of --grace; a second one exits at once.")]
pub struct Serve {
    /// Where to listen for HTTP; port 0 takes any free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub listen: String,

    /// Where to take direct TCP connections, beside HTTP; port 0 takes any free one
    ///
    /// Clients are told the port and go by it where they can; HTTP stays what carries them where they can't, or when
    /// such a connection ends. Nothing on it is encrypted.
    #[arg(long, value_name = "HOST:PORT")]
    pub tcp: Option<String>,

    /// A Unix socket for `posthole cgi`, beside --listen
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,

    /// Who may connect to it, in octal as for chmod
    #[arg(long, value_name = "MODE", default_value = "600", value_parser = parse_mode)]
    pub socket_mode: u32,

    /// The path of the URL; all others are answered 404
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = parse_path)]
    pub path: String,

    /// A destination that clients may be connected to; may be repeated
    ///
    /// At least one is needed. PORT may be `*`, HOST may be `*` or begin with `*.`; IPv6 addresses stand in brackets.
    /// Names are compared as the client asks for them and resolved afterwards, so a name is trusted wherever it
    /// points, and `*` includes this machine itself. A Unix socket is allowed by its path.
    #[arg(long, value_name = "HOST:PORT")]
    pub allow: Vec<Pattern>,

    /// Where clients may have this server listen for them (connect -R); may be repeated
    ///
    /// An address as the client asks for it (127.0.0.1 unless it says otherwise) and a port, or `*` for any.
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub allow_reverse: Vec<Pattern>,

    /// How long to try to connect to a destination
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub connect_timeout: Duration,

    /// How many clients' sessions to keep at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub max_sessions: usize,

    /// How many connections to carry at once
    #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
    pub max_connections: usize,

    /// How it runs.
    #[command(flatten)]
    pub running: Running,
}

/// How either end runs.
#[derive(Debug, Args)]
pub struct Running {
    /// How long connections may finish after an interrupt
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub grace: Duration,

    /// What it runs on
    ///
    /// The environment's SMOL_THREADS says how many threads run smol's tasks; without it, one does, which is quickest
    /// for a few connections.
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,

    /// End with standard input, which the process that started this one holds
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

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

/// Hand one request from a web server to a running posthole, as a CGI program.
///
/// For web servers that can start programs but not pass requests on (docs/recipes). The server is
/// `posthole serve --socket FILE`; each request that is held is a process for as long.
#[derive(Debug, Args)]
pub struct Cgi {
    /// Where the server listens; without this, the environment's POSTHOLE_SOCKET
    #[arg(long, value_name = "FILE")]
    pub socket: Option<PathBuf>,

    /// The path that the server takes requests at
    #[arg(long, value_name = "PATH", default_value = "/", value_parser = parse_path)]
    pub path: String,
}

/// Carry a file through a hostile proxy, all on this machine.
///
/// Starts a destination, a server, a client, and between these two a proxy that lets only HTTP through and harms some
/// of the exchanges: delays, drops, doubles, reorders, cuts and corrupts them, answers 502 in their place, resets their
/// connections. Carries a pseudo-random file up and down through it, compares, and tells what it took. Exits with 1 if
/// a byte was wrong.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  posthole demo
  posthole demo --size 1GiB --faults 0
  posthole demo --size 8MiB --faults 50 --seed 42")]
pub struct Demo {
    /// How large the file is
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = parse_size)]
    pub size: u64,

    /// How many of a hundred exchanges are harmed
    #[arg(long, value_name = "PERCENT", default_value = "10", value_parser = parse_percent)]
    pub faults: f64,

    /// Which faults, and which file: the same number gives the same ones
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,

    /// When to give up
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    pub limit: Duration,

    /// What server and client run on
    #[arg(long, value_enum, default_value_t)]
    pub runtime: Runtime,
}

/// Measure speed, cost and memory beside plain relays, all on this machine.
///
/// Each measurement starts processes of its own: the far end of the load, and a server and a client before it, or two
/// plain relays that do nothing but pass bytes on. Every round runs all tests on all systems, in a random order.
/// Compare ratios, not absolute figures. Exits with 1 if a byte was wrong or a measurement failed.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  posthole bench
  posthole bench --tests up,down,ping --rounds 9
  posthole bench --tests down --rtt 50ms --seconds 5
  posthole bench --tests idle-sessions --idle 10000 --json idle.json")]
pub struct Bench {
    /// Which tests; all without this
    #[arg(long, value_name = "TEST,…", value_enum, value_delimiter = ',')]
    pub tests: Vec<Load>,

    /// How often each measurement is made; those of memory at most twice
    #[arg(long, value_name = "NUMBER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,

    /// How long one takes, beside starting and ending
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub seconds: Duration,

    /// What to measure beside the relays: runtimes, or CLIENT/SERVER
    ///
    /// Without this, every runtime at both ends. `smol:2` runs its tasks on two threads. `relay` measures the relays a second time: how far its ratios are
    /// from 1 is the noise.
    #[arg(long, value_name = "RUNTIME,…", value_delimiter = ',')]
    pub runtimes: Vec<System>,

    /// How many connections (at most 2000) or sessions rest in the tests of memory
    #[arg(long, value_name = "NUMBER", default_value_t = 1000, value_parser = parse_idle)]
    pub idle: usize,

    /// For how long these rest before they are measured; what is kept for use again is given back after 4 s
    #[arg(long, value_name = "TIME", default_value = "6s", value_parser = parse_duration)]
    pub rest: Duration,

    /// How long the way between client and server takes, there and back
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub rtt: Option<Duration>,

    /// Write every sample to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_usual_lines_are_understood() {
        for line in [
            "posthole serve --listen 127.0.0.1:0 --allow 127.0.0.1:*",
            "posthole serve --allow *.example.org:22 --allow [::1]:5432 --grace 1s --path /x -v",
            "posthole connect http://s/ -L 2222:h:22 -L [::1]:1:[::1]:2 --proxy none -q",
            "posthole connect http://s/ -D 1080 -D [::1]:0 -L 2222:h:22",
            "posthole connect http://s/ -R 8000:h:80 -R [::1]:0:h:80 --tcp h:81 --carrier tcp",
            "posthole serve --allow-reverse 127.0.0.1:* --tcp 127.0.0.1:0",
            "posthole connect http://s/ --stdio h:22 --proxy http://p:3128 --proxy-connect --ca /x.pem -vv",
            "posthole cgi --socket /run/posthole.sock",
            "posthole serve --allow a:1 --socket /run/posthole.sock --socket-mode 660",
            "posthole probe http://s/ --proxy none --time 5s --json",
            "posthole demo",
            "posthole demo --size 1MiB --faults 20 --seed 3",
            "posthole bench --tests up,ping-busy --runtimes blocking,blocking/blocking,relay --rtt 20ms --rounds 3",
            "posthole bench-part relay 127.0.0.1:1",
        ] {
            parse(line).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "posthole",
            "posthole serve --allow 127.0.0.1",
            "posthole serve --allow a:1 --path x",
            "posthole connect http://s/",
            "posthole connect http://s/ -L 22:h",
            "posthole connect http://s/ -L 1:h:22 --stdio h:22",
            "posthole connect http://s/ -D 1080 --stdio h:22",
            "posthole connect http://s/ -D h:22:1",
            "posthole connect http://s/ -R 22",
            "posthole demo --faults 101",
            "posthole demo -v -q",
            "posthole bench --rounds 0",
            "posthole bench --idle 0",
            "posthole bench --tests sideways",
            "posthole bench --runtimes threads",
            "posthole serve --allow a:1 --runtime threads",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
