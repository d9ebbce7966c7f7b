//! Planted bugs: the list in `mutants/list.txt`, and planting one.

use std::fs;
use std::path::{Path, PathBuf};

/// One planted bug.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mutant {
    /// What goes wrong.
    pub name: String,
    /// In which file, from the repository's root.
    pub file: String,
    /// What stands there, and what stands there instead.
    pub changes: Vec<(String, String)>,
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The whole list.
///
/// # Panics
/// If it can't be read.
pub fn list() -> Vec<Mutant> {
    let file = root().join("tests/mutants/list.txt");
    parse(&fs::read_to_string(file).expect("the list is in the repository"))
}

/// Reads a list.
///
/// # Panics
/// On a line that makes no sense.
pub fn parse(text: &str) -> Vec<Mutant> {
    let mut all: Vec<Mutant> = Vec::new();
    let mut before = ' ';
    for line in text.lines() {
        let Some(sign) = line.chars().next().filter(|sign| *sign != '#') else {
            before = ' ';
            continue;
        };
        let rest = line.get(2..).unwrap_or("");
        if sign == '=' {
            all.push(Mutant {
                name: rest.to_owned(),
                ..Mutant::default()
            });
        }
        let mutant = all.last_mut().expect("a list begins with a name");
        match sign {
            '=' => {}
            '@' => mutant.file = rest.to_owned(),
            '-' if before != '-' => mutant.changes.push((rest.to_owned(), String::new())),
            '-' | '+' => {
                let (old, new) = mutant.changes.last_mut().expect("`-` comes before `+`");
                let side = if sign == '-' { old } else { new };
                if before == sign {
                    side.push('\n');
                }
                side.push_str(rest);
            }
            _ => panic!("not a line of a list of mutants: {line}"),
        }
        before = sign;
    }
    all
}

impl Mutant {
    /// The file's text with the bug in it.
    ///
    /// # Errors
    /// What is to be replaced does not stand there, or more than once.
    pub fn plant(&self, mut text: String) -> Result<String, String> {
        for (old, new) in &self.changes {
            let count = text.matches(old.as_str()).count();
            if count != 1 {
                let file = &self.file;
                return Err(format!("{}: {count} times in {file}:\n{old}", self.name));
            }
            text = text.replace(old.as_str(), new);
        }
        Ok(text)
    }
}
