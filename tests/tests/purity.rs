//! The core is pure: no `std`, no clock, and imports that point one way.
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn protocol() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol")
}

/// Every source file with its module's first name and its text without comments and unit tests.
fn sources() -> Vec<(PathBuf, String, String)> {
    let root = protocol().join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs")
                && !path.to_string_lossy().ends_with("tests.rs")
            {
                let inside = path.strip_prefix(&root).unwrap();
                let first = inside
                    .components()
                    .next()
                    .unwrap()
                    .as_os_str()
                    .to_str()
                    .unwrap();
                let module = first.trim_end_matches(".rs").to_owned();
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]").next().unwrap();
                let lines = code.lines().filter(|line| {
                    !line.trim_start().starts_with("//")
                        && !line.contains("std::io::IoSlice")
                        && line.trim() != "extern crate std;"
                });
                found.push((path.clone(), module, lines.collect::<Vec<_>>().join("\n")));
            }
        }
    }
    assert!(
        found.len() > 15,
        "the sources are not where this test looks"
    );
    found
}

/// The modules that a module may name: those above it in the list of DESIGN's layers.
fn allowed(module: &str) -> Option<&'static [&'static str]> {
    const WORDS: &[&str] = &["time", "error", "config", "id", "event", "learned"];
    Some(match module {
        "time" => &[],
        "error" | "config" | "id" | "event" | "learned" => WORDS,
        "wire" => &["id", "error", "wire"],
        "http" => &["wire", "error", "id", "http"],
        "ranges" => &["wire"],
        "outbox" | "inbox" => &["time", "error", "config", "id", "event", "wire", "ranges"],
        "stream" => &[
            "time", "error", "config", "id", "event", "wire", "ranges", "outbox", "inbox", "stream",
        ],
        "session" => &[
            "time", "error", "config", "id", "event", "wire", "ranges", "outbox", "inbox",
            "stream", "pace", "session",
        ],
        "client" | "server" => return None,
        _ => {
            return Some(&[
                "time", "error", "config", "id", "event", "wire", "ranges", "learned",
            ]);
        }
    })
}

/// DESIGN section 2: imports point one way: wire <- outbox, inbox, stream <- session <- client, server; http knows
/// wire, error and id alone; client and server don't know each other.
#[test]
fn imports_point_one_way() {
    let mut wrong = Vec::new();
    for (path, module, text) in sources().iter().filter(|(_, module, _)| module != "lib") {
        for piece in text.split("crate::").skip(1) {
            let targets: Vec<&str> = if let Some(group) = piece.strip_prefix('{') {
                // The first word of each entry of a group.
                group
                    .split('}')
                    .next()
                    .unwrap()
                    .split(',')
                    .map(first_word)
                    .collect()
            } else {
                vec![first_word(piece)]
            };
            for target in targets {
                let is_module = target.chars().next().is_some_and(char::is_lowercase);
                let fine = match allowed(module) {
                    Some(allowed) => allowed.contains(&target) || target == module,
                    None => {
                        target
                            != if module == "client" {
                                "server"
                            } else {
                                "client"
                            }
                            && target != "http"
                    }
                };
                if is_module && !fine {
                    wrong.push(format!(
                        "{}: {module} names crate::{target}",
                        path.display()
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn first_word(text: &str) -> &str {
    text.trim_start()
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
        .unwrap_or("")
}

/// DESIGN section 3: nothing of std, no clock, no lock, no map whose order depends on chance.
#[test]
fn nothing_impure_is_named() {
    let banned = [
        "std::",
        "extern crate std",
        "SystemTime",
        "HashMap",
        "HashSet",
        "Mutex",
        "RefCell",
        "static mut",
        "unsafe ",
    ];
    for (path, _, text) in sources() {
        for word in banned {
            assert!(!text.contains(word), "{} names {word}", path.display());
        }
    }
}

/// The core depends on bytes, a CRC and short lists and no more.
#[test]
fn three_dependencies() {
    let manifest = fs::read_to_string(protocol().join("Cargo.toml")).unwrap();
    let section = manifest
        .split("[dependencies]")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let names: Vec<&str> = section
        .lines()
        .map(first_word)
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(names, ["bytes", "crc32fast", "smallvec"]);
}

/// The core links without std: a staticlib with a panic handler of its own that pulls in every role can't be built
/// (E0152) if anything below it uses std.
#[test]
fn links_without_std() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("no-std-proof");
    fs::create_dir_all(folder.join("src")).unwrap();
    let manifest = format!(
        "[package]\nname = \"no-std-proof\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"staticlib\"]\n         [dependencies]\nposthole-protocol = {{ path = {:?}, default-features = false }}\n         [profile.dev]\npanic = \"abort\"\n[workspace]\n",
        protocol().canonicalize().unwrap()
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    fs::copy(protocol().join("../Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let code = r#"
#![no_std]
use core::alloc::{GlobalAlloc, Layout};
use posthole_protocol::{Client, Config, Instance, Instant, Router, RouterConfig, Server, SessionId};

struct Nothing;
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 { core::ptr::null_mut() }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
#[global_allocator]
static ALLOCATOR: Nothing = Nothing;
#[panic_handler]
fn on_panic(_: &core::panic::PanicInfo) -> ! { loop {} }

pub fn client(config: Config) -> Client { Client::new(config, SessionId::from_bytes([0; 16]), Instant::ZERO) }
pub fn router(config: RouterConfig) -> Router<Server> { Router::new(config, Instance(0), Instant::ZERO) }
"#;
    fs::write(folder.join("src/lib.rs"), code).unwrap();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--offline", "--quiet"])
        .current_dir(&folder)
        .env_remove("RUSTFLAGS")
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
