//! The command line: what can be said, how it is explained, and nothing of what it does.

mod connect;
mod serve;
mod trial;
mod values;

use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

use crate::bench::Part;
use crate::runtime::Runtime;
use crate::units::parse_duration;

pub use connect::{CarrierChoice, Connect, Probe};
pub use serve::{Cgi, Serve};
pub use trial::{Bench, Demo};

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
