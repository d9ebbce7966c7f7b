//! Every target over its stored corpus, and over a bounded number of random inputs.
#![allow(missing_docs, clippy::unwrap_used)]

use posthole_tests::rng::Rng;
use std::fs;
use std::path::Path;

fn replay(name: &str, target: fn(&[u8]), random: u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(name);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    let inputs: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    inputs.iter().for_each(|input| target(input));
    // FUZZ_RUNS says how many more; each is a stored input with some bytes changed, or all new.
    let runs = std::env::var("FUZZ_RUNS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(random);
    let mut rng = Rng::new(1);
    for run in 0..runs {
        let mut input = if run % 2 == 0 {
            inputs[rng.below(inputs.len() as u64) as usize].clone()
        } else {
            vec![0; rng.below(300) as usize]
        };
        let changes = if run % 2 == 0 {
            1 + rng.below(8)
        } else {
            input.len() as u64
        };
        for _ in 0..changes {
            let at = rng.below(input.len() as u64) as usize;
            if let Some(byte) = input.get_mut(at) {
                *byte = rng.draw() as u8;
            }
        }
        let caught = std::panic::catch_unwind(|| target(&input));
        if let Err(panic) = caught {
            eprintln!("{name}: run {run}, input {input:02x?}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn wire_decode() {
    replay("wire_decode", posthole_fuzz::wire_decode, 20_000);
}

#[test]
fn client() {
    replay("client", posthole_fuzz::client, 500);
}

#[test]
fn server() {
    replay("server", posthole_fuzz::server, 500);
}

#[test]
fn pair() {
    replay("pair", posthole_fuzz::pair, 60);
}

#[test]
fn http_verdict() {
    replay("http_verdict", posthole_fuzz::http_verdict, 10_000);
}

#[test]
fn paths() {
    replay("paths", posthole_fuzz::paths, 300);
}

#[test]
fn adversary() {
    replay("adversary", posthole_fuzz::adversary, 60);
}

#[test]
fn http_head() {
    replay("http_head", posthole_fuzz::http_head, 10_000);
}

#[test]
fn http_way() {
    replay("http_way", posthole_fuzz::http_way, 10_000);
}

#[test]
fn frames() {
    replay("frames", posthole_fuzz::frames, 10_000);
}
