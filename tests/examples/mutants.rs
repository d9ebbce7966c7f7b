//! Plants one bug after the other in a copy of the repository, and prints which test finds it: a table in Markdown.
//!
//! `cargo run -p posthole-tests --example mutants [PART OF A NAME]…`; about a minute each. Ends with 1 if one was not
//! found.
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

use posthole_tests::mutants::{Mutant, list, root};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Tests that take so many times as long as all do without any bug have found something, too: what should end does not.
const LONGER: u32 = 2;

/// Cases of each property: a few first, which find most bugs in a tenth of the time.
const CASES: [&str; 2] = ["30", "1000"];

/// Building, and tests without any bug, take no longer.
const LIMIT: Duration = Duration::from_secs(1200);

/// Those of `tests/tests` that need no socket, or few.
const VIRTUAL: &[&str] = &["virtual_time", "cancellation", "forms"];

fn main() -> ExitCode {
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted =
        |mutant: &Mutant| wanted.is_empty() || wanted.iter().any(|part| mutant.name.contains(part));
    let tree = copy();
    let mut missed = 0;
    println!("| planted bug | in | found by |\n| --- | --- | --- |");
    let mut limits = BTreeMap::new();
    for mutant in list().into_iter().filter(is_wanted) {
        let (file, folder) = (tree.join(&mutant.file), folder(&mutant).to_owned());
        let text = fs::read_to_string(&file).unwrap();
        let mut found = None;
        for cases in CASES {
            let limit = *limits
                .entry((folder.clone(), cases))
                .or_insert_with(|| without_any(&tree, &folder, cases) * LONGER);
            fs::write(&file, mutant.plant(text.clone()).unwrap()).unwrap();
            found = find(&tree, &folder, cases, limit);
            fs::write(&file, &text).unwrap();
            if found.is_some() {
                break;
            }
        }
        missed += usize::from(found.is_none());
        let found = found.unwrap_or_else(|| "**nothing**".to_owned());
        println!("| {} | `{}` | {found} |", mutant.name, mutant.file);
    }
    println!("\n{missed} not found.");
    ExitCode::from(u8::from(missed > 0))
}

/// How long the tests for this folder take without any bug.
fn without_any(tree: &Path, folder: &str, cases: &str) -> Duration {
    let built = tests(folder)
        .iter()
        .find_map(|line| cargo(tree, line, &["--no-run"], cases, LIMIT));
    let began = Instant::now();
    if let Some(found) = built.or_else(|| find(tree, folder, cases, LIMIT)) {
        panic!("without any bug: {found}");
    }
    began.elapsed()
}

/// A copy of all that is in the repository, in `target/mutants`.
fn copy() -> PathBuf {
    let (root, tree) = (root(), root().join("target/mutants/tree"));
    let _ = fs::remove_dir_all(&tree);
    let listed = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .unwrap();
    for file in String::from_utf8(listed.stdout).unwrap().lines() {
        let (from, to) = (root.join(file), tree.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(from, to).unwrap();
        }
    }
    tree
}

/// The crate that it is in, by its folder.
fn folder(mutant: &Mutant) -> &str {
    mutant.file.split('/').next().unwrap_or_default()
}

/// What finds a bug in this folder, if anything does.
fn find(tree: &Path, folder: &str, cases: &str, limit: Duration) -> Option<String> {
    tests(folder)
        .iter()
        .find_map(|line| run(tree, line, cases, limit))
}

/// What cargo is asked to test.
struct Tests {
    arguments: Vec<&'static str>,
    /// Every order of threads at a session's lock: all is built for loom.
    orders: bool,
}

/// What cargo is asked to test for it, one after the other.
fn tests(folder: &str) -> Vec<Tests> {
    const TASKS: &str = "posthole-smol";
    const THREADS: &str = "posthole-blocking";
    let own: &[_] = match folder {
        "protocol" => &["posthole-protocol"],
        "runtime-blocking" => &[THREADS],
        "runtime-smol" => &[TASKS],
        _ => &["posthole-runtime", THREADS, TASKS],
    };
    let mut lib = packages(own);
    lib.push("--lib");
    let runtimes = own.iter().filter(|name| [THREADS, TASKS].contains(name));
    let together: &[_] = match folder {
        "protocol" => VIRTUAL,
        _ => &["forms", "conformance", "pieces"],
    };
    let mut last = packages(&["posthole-tests"]);
    last.extend(together.iter().flat_map(|test| ["--test", test]));
    let ordered: &[_] = if own.contains(&THREADS) {
        &["-p", THREADS, "--no-default-features", "--lib", "orders"]
    } else {
        &[]
    };
    // The conformance suite is last: it takes longest.
    let lines = [
        (lib, false),
        (packages(runtimes), false),
        (ordered.to_vec(), true),
        (last, false),
    ];
    let lines = lines.into_iter().filter(|(line, _)| !line.is_empty());
    let tests = |(arguments, orders)| Tests { arguments, orders };
    lines.map(tests).collect()
}

/// These packages, with the features that are off by default.
fn packages<'a>(names: impl IntoIterator<Item = &'a &'static str>) -> Vec<&'static str> {
    names
        .into_iter()
        .flat_map(|&name| match name {
            "posthole-blocking" => vec!["-p", name, "--features=posthole-blocking/tiny_http"],
            name => vec!["-p", name],
        })
        .collect()
}

/// Runs tests; `Some`: one of them fails, or does not end.
fn run(tree: &Path, line: &Tests, cases: &str, limit: Duration) -> Option<String> {
    cargo(tree, line, &["--no-run"], cases, LIMIT).or_else(|| cargo(tree, line, &[], cases, limit))
}

fn cargo(tree: &Path, line: &Tests, how: &[&str], cases: &str, limit: Duration) -> Option<String> {
    let mut command = Command::new("cargo");
    // What is built for loom shares nothing with the rest.
    let target = if line.orders {
        command.env("RUSTFLAGS", "--cfg interleave");
        "target/mutants/orders"
    } else {
        "target/mutants/target"
    };
    let mut child = command
        .args(["test", "-q", "--offline"])
        .args(how)
        .args(&line.arguments)
        .current_dir(tree)
        .env("CARGO_TARGET_DIR", root().join(target))
        .env("RUST_BACKTRACE", "0")
        .env("CARGO_PROFILE_DEV_DEBUG", "0")
        .env("PROPTEST_CASES", cases)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut out = child.stdout.take().unwrap();
    let reads = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = out.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let mut err = child.stderr.take().unwrap();
    let errors = thread::spawn(move || {
        let mut said = Vec::new();
        let _ = err.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    });
    let until = Instant::now() + limit;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => break None,
            None => thread::sleep(Duration::from_millis(50)),
        }
    };
    if status.is_none() {
        // The whole group: the tests are cargo's children.
        let group = format!("-{}", child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = child.wait();
    }
    let (said, errors) = (reads.join().unwrap(), errors.join().unwrap());
    match status {
        None => Some("a test that does not end".to_owned()),
        Some(status) if status.success() => None,
        Some(_) if errors.contains("could not compile") => {
            panic!("it does not compile:\n{errors}")
        }
        Some(_) => {
            let (_, names) = said.rsplit_once("\nfailures:\n").unwrap_or_default();
            let failed = names
                .lines()
                .filter_map(|line| line.strip_prefix("    "))
                .find(|line| !line.contains(' ') && !line.is_empty());
            Some(format!("`{}`", failed.unwrap_or("a test that dies")))
        }
    }
}
