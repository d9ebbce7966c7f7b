//! What `demo` and `bench` are told: both try posthole on this machine.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::values::parse_idle;
use crate::bench::{Load, System};
use crate::runtime::Runtime;
use crate::units::{parse_duration, parse_percent, parse_size};

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
  posthole bench --tests up8,down8 --direct
  posthole bench --tests up,down --rtt 100ms --rate 100 --loss 1 --seconds 10s
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

    /// How many million bits a second go over that way, each direction of its own
    #[arg(long, value_name = "MBIT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: Option<u32>,

    /// How many of a hundred exchanges are lost, as requests or as answers, in silence or by a reset
    ///
    /// By a proxy before the server that takes bodies whole. The relays lose nothing, and sessions that rest don't.
    #[arg(long, value_name = "PERCENT", value_parser = parse_percent, conflicts_with = "direct")]
    pub loss: Option<f64>,

    /// Have sessions over direct TCP connections instead of HTTP
    #[arg(long, conflicts_with_all = ["rtt", "rate"])]
    pub direct: bool,

    /// Write every sample to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}
