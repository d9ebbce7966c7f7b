//! What `serve` is told, and `cgi`, which hands it requests.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::Running;
use super::values::{parse_mode, parse_path};
use crate::allow::Pattern;
use crate::units::parse_duration;

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
