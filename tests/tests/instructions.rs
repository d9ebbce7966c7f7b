//! What the machines cost in instructions, which are the same on every run where times are not: callgrind counts them.
//!
//! `cargo test -p posthole-tests --test instructions -- --nocapture` prints them; docs/verification.md has them.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// What was counted, on x86-64 with Rust 1.95, the check's and the copies' of bodies among them; more by a twentieth is too
/// much. Much less is to be noted here.
const BULK_PER_MB: u64 = 2_126_642;
const BULK_PER_MESSAGE: u64 = 32_819;
const PING_PER_MESSAGE: u64 = 15_029;

/// Instructions of so many turns, and the messages and bytes in them.
fn count(program: &Path, load: &str, turns: u32) -> [u64; 3] {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([load, &turns.to_string()])
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let told = String::from_utf8_lossy(&run.stderr).into_owned();
    let collected = told.split("Collected : ").nth(1).unwrap();
    let numbers = String::from_utf8_lossy(&run.stdout).into_owned();
    let mut numbers = numbers.split_whitespace().map(|n| n.parse().unwrap());
    [
        collected
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap(),
        numbers.next().unwrap(),
        numbers.next().unwrap(),
    ]
}

/// Of the later turns alone, in which nothing is learned or grows any more.
fn steady(program: &Path, load: &str) -> [u64; 3] {
    let (few, many) = (count(program, load, 100), count(program, load, 300));
    [0, 1, 2].map(|i| many[i] - few[i])
}

#[test]
fn instructions_in_steady_state() {
    if Command::new("valgrind").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("CI").is_none(),
            "valgrind is not installed"
        );
        println!("skipped: valgrind is not installed");
        return;
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("instructions");
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "-q",
            "--release",
            "-p",
            "posthole-tests",
            "--bin",
            "cost",
            "--target-dir",
        ])
        .arg(&target)
        .current_dir(workspace)
        .status();
    assert!(built.unwrap().success());
    let program = target.join("release/cost");
    let ([bulk, messages, bytes], [ping, pings, _]) = std::thread::scope(|scope| {
        let bulk = scope.spawn(|| steady(&program, "bulk"));
        let ping = steady(&program, "ping");
        (bulk.join().unwrap(), ping)
    });
    let counted = [
        ("for each MB of bulk", bulk * 1_000_000 / bytes, BULK_PER_MB),
        (
            "for each message of bulk",
            bulk / messages,
            BULK_PER_MESSAGE,
        ),
        (
            "for each message of a ping-pong",
            ping / pings,
            PING_PER_MESSAGE,
        ),
    ];
    for (what, count, budget) in counted {
        println!("instructions {what}, both ends together: {count}");
        assert!(
            count <= budget + budget / 20,
            "{what}: {count}, not {budget}"
        );
    }
}
