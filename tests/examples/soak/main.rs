//! Real processes, and what can be done to them: a table in Markdown of what was tried and what survived.
//!
//! `cargo build --release && cargo run --release -p posthole-tests --example soak`: some two minutes. With `-- whole` what takes
//! longer, some twelve minutes: a gibibyte each way through everything, direct connections cut for minutes; this needs root
//! and squid. More words: only the rows whose names contain one of them. Ends with 1 if something did not go as it should.
//! Only loopback and a network of its own are used, and only processes of its own are ended.
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

mod crowd;
mod load;
mod path;
#[path = "../../tests/real/mod.rs"]
mod real;
mod small;
mod trial;
mod whole;
mod world;

use std::env::args;
use std::process::ExitCode;
use std::thread;
use trial::Trial;
use world::On;

/// Each pair of runtimes, with what the table calls it.
const PAIRS: [(&str, On); 4] = [
    (
        "threads",
        On {
            client: "blocking",
            server: "blocking",
        },
    ),
    (
        "tasks",
        On {
            client: "smol",
            server: "smol",
        },
    ),
    (
        "tasks to threads",
        On {
            client: "smol",
            server: "blocking",
        },
    ),
    (
        "threads to tasks",
        On {
            client: "blocking",
            server: "smol",
        },
    ),
];

fn main() -> ExitCode {
    let mut words: Vec<String> = args().skip(1).collect();
    let is_whole = words.first().is_some_and(|word| word == "whole");
    let trials = if is_whole {
        words.remove(0);
        whole::TRIALS
    } else {
        small::TRIALS
    };
    println!(
        "| what was done | {} |",
        PAIRS.map(|(name, _)| name).join(" | ")
    );
    println!("| --- | {} |", PAIRS.map(|_| "---").join(" | "));
    let mut wrong = 0;
    for trial in trials {
        if words.is_empty() || words.iter().any(|word| trial.name.contains(word.as_str())) {
            wrong += row(trial);
        }
    }
    println!("\n{wrong} not as it should be.");
    ExitCode::from(u8::from(wrong > 0))
}

/// All pairs at once; how many were not as they should be.
fn row(trial: &'static Trial) -> usize {
    let runs = PAIRS.map(|(_, on)| thread::spawn(move || trial.run(on)));
    let results = runs.map(|run| run.join().unwrap_or_else(|_| Err("a panic".to_owned())));
    let wrong = results.iter().filter(|r| r.is_err()).count();
    let cells = results.map(|r| r.unwrap_or_else(|why| format!("**{why}**")));
    println!("| {} | {} |", trial.name, cells.join(" | "));
    wrong
}
