//! The list of planted bugs: each can still be planted. `cargo run -p posthole-tests --example mutants` plants them.
#![allow(clippy::unwrap_used)] // A test fails by it.

use posthole_tests::mutants::{list, root};
use std::collections::BTreeSet;
use std::fs;

#[test]
fn every_planted_bug_has_its_place() {
    let all = list();
    assert!(all.len() >= 25, "{}", all.len());
    let names: BTreeSet<&str> = all.iter().map(|mutant| mutant.name.as_str()).collect();
    assert_eq!(names.len(), all.len(), "two of one name");
    let wrong: Vec<String> = all
        .iter()
        .filter_map(|mutant| {
            let text = fs::read_to_string(root().join(&mutant.file)).unwrap();
            assert!(!mutant.changes.is_empty(), "{}", mutant.name);
            match mutant.plant(text.clone()) {
                Ok(planted) if planted == text => Some(format!("{}: nothing", mutant.name)),
                Ok(_) => None,
                Err(why) => Some(why),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
