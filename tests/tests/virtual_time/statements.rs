//! Every statement of the source that the core is to keep is named by a test that would fail without it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What of S1 to S23 the core's tests must name; the others are the runtimes' and the command's.
const CORE: [u32; 16] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 20, 22, 12];

/// For each marker such as S7 or D3: the tests whose doc comment names it.
fn cited() -> BTreeMap<String, Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/virtual_time");
    let mut cited: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|ext| ext != "rs") || path.ends_with("statements.rs") {
            continue;
        }
        let mut named: Vec<String> = Vec::new();
        for line in fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(str::trim_start)
        {
            if let Some(comment) = line.strip_prefix("///") {
                let words = comment.split(|c: char| !c.is_ascii_alphanumeric());
                named.extend(words.filter(|word| is_marker(word)).map(str::to_owned));
            } else if let Some(rest) = line.strip_prefix("fn ") {
                let test = format!(
                    "{}: {}",
                    path.file_name().unwrap().to_str().unwrap(),
                    rest.split('(').next().unwrap()
                );
                for marker in named.drain(..) {
                    cited.entry(marker).or_default().push(test.clone());
                }
            } else if !line.starts_with("#[") {
                named.clear();
            }
        }
    }
    cited
}

fn is_marker(word: &str) -> bool {
    let (letter, number) = word.split_at(word.len().min(1));
    "SALDC".contains(letter) && !letter.is_empty() && number.parse::<u32>().is_ok()
}

/// Every S-number of the core, every L, every scenario D1 to D9 and every clause C1 to C9 has a test.
#[test]
fn every_statement_is_named_by_a_test() {
    let cited = cited();
    let wanted = CORE.iter().map(|n| format!("S{n}"));
    let wanted = wanted.chain((1..=7).map(|n| format!("L{n}")));
    let wanted = wanted
        .chain((1..=9).map(|n| format!("D{n}")))
        .chain((1..=9).map(|n| format!("C{n}")));
    let missing: Vec<String> = wanted
        .filter(|marker| !cited.contains_key(marker))
        .collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    // S21: answers only to requests, which the harness asserts in `Net::answer` for each of them.
    let net =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/net/mod.rs")).unwrap();
    assert!(net.contains("an answer to a request that never came"));
}
