//! `posthole bench`: how fast, how dear and how large tunnels are, beside plain relays, all on this machine.
//!
//! ```text
//! system    what is measured: processes of this program, started anew for every measurement    crew
//! load      the tests, from the near end: bulk, ping, idle     stream (the bytes, checked), usage (what it takes)
//! parts     what else runs in those processes: far (the load's other end), relay, delay, lossy, sessions
//! stats, results, table, json     what it comes to
//! ```
//!
//! Each round runs every test on every system, in a new random order, so that whatever else the machine does hits all
//! alike; ratios are taken within a round.

mod crew;
mod delay;
mod far;
mod json;
mod load;
mod parts;
mod relay;
mod results;
mod sessions;
mod stats;
mod stream;
mod system;
mod table;
mod usage;

use std::fs;
use std::io::{self, Write};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::ValueEnum;

pub use load::Load;
pub use parts::{Part, run as run_part};
pub use system::{End, System};

use crate::args::Bench;
use crate::error::Error;
use crate::line::{Line, Show};
use crate::log::say;
use crate::random::Random;
use crate::runtime::Runtime;
use crew::Crew;
use load::Extent;
use results::Results;
use system::{Path, Site};

/// Runs the tests and prints the table.
///
/// # Errors
/// It could not be set up, or a measurement failed: a wrong byte, a process that ended, nothing that moved.
pub fn run(args: &Bench, show: Show) -> Result<(), Error> {
    raise_descriptors();
    let site = Site {
        crew: Crew::of_this_program().map_err(Error::failed)?,
        path: Path {
            round_trip: args.rtt.unwrap_or_default(),
            rate: args.rate.unwrap_or_default(),
            loss: args.loss.unwrap_or_default(),
            direct: args.direct,
        },
        most: args.idle,
    };
    let mut results = Results::new(loads(args), systems(args), args.rounds);
    let machine = usage::Machine::start();
    let failed = measure(&site, args, Line::new(show), &mut results);
    let others = machine.and_then(|m| m.others());

    let about = table::About { args, others };
    let print = |e: io::Error| Error::failed(format!("can't print the table: {e}"));
    write!(io::stdout(), "{}", table::Table(&results, &about)).map_err(print)?;
    if let Some(path) = &args.json {
        let text = json::Json(&results, &about).to_string();
        fs::write(path, text)
            .map_err(|e| Error::failed(format!("can't write {}: {e}", path.display())))?;
    }
    match failed {
        0 => Ok(()),
        1 => Err(Error::failed("a measurement failed")),
        n => Err(Error::failed(format!("{n} measurements failed"))),
    }
}

/// Which tests: those asked for, or all.
fn loads(args: &Bench) -> Vec<Load> {
    if args.tests.is_empty() {
        Load::value_variants().to_vec()
    } else {
        args.tests.clone()
    }
}

/// Which systems: the relay, and those asked for, or each runtime at both ends.
fn systems(args: &Bench) -> Vec<System> {
    let mut systems = vec![System::Relay];
    if args.runtimes.is_empty() {
        let both = |runtime: &Runtime| System::Posthole {
            client: (*runtime).into(),
            server: (*runtime).into(),
        };
        systems.extend(Runtime::ALL.iter().map(both));
    } else {
        systems.extend(args.runtimes.iter().copied());
    }
    systems
}

/// All measurements; how many failed.
fn measure(site: &Site, args: &Bench, mut line: Line, results: &mut Results) -> usize {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut random = Random::new(now.map_or(0, |t| t.as_nanos() as u64));
    let began = Instant::now();
    let all = results.plan().count();
    let (mut done, mut failed) = (0, 0);
    for round in 0..args.rounds {
        for load in results.loads().to_vec() {
            let planned = results.plan().filter(|p| p.0 == round && p.1 == load);
            let mut systems: Vec<System> = planned.map(|p| p.2).collect();
            shuffle(&mut systems, &mut random);
            for system in systems {
                line.show(|| progress(done, all, began.elapsed(), load, system));
                let extent = Extent {
                    time: args.seconds,
                    idle: args.idle,
                    rest: args.rest,
                    seed: random.next_u64(),
                };
                match load.run(site, system, extent) {
                    Ok(sample) => results.put(round, load, system, sample),
                    Err(why) => {
                        line.clear();
                        say(format_args!("{}, {system}: {why}", load.title()));
                        failed += 1;
                    }
                }
                done += 1;
            }
        }
    }
    line.clear();
    failed
}

fn progress(done: usize, all: usize, took: Duration, load: Load, system: System) -> String {
    let left = match done {
        0 => String::new(),
        _ => {
            let seconds = took.as_secs_f64() / done as f64 * (all - done) as f64;
            format!(", about {seconds:.0} s left")
        }
    };
    format!("{done} of {all}{left}: {}, {system}", load.title())
}

/// Fisher and Yates.
fn shuffle<T>(list: &mut [T], random: &mut Random) {
    for last in (1..list.len()).rev() {
        let other = random.below(last as u64 + 1);
        list.swap(
            last,
            usize::try_from(other).expect("below the list's length"),
        );
    }
}

/// A thousand idle connections take more descriptors than a shell usually grants; up to the hard limit is ours to take.
/// Where that is refused, opening them fails and says so.
fn raise_descriptors() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffled_list_holds_what_it_held_in_every_order() {
        let mut random = Random::new(1);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut list = [1, 2, 3];
            shuffle(&mut list, &mut random);
            seen.insert(list);
        }
        assert_eq!(seen.len(), 6);
        shuffle::<u8>(&mut [], &mut random);
    }
}
