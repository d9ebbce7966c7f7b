//! A failure as the person at the terminal sees it: one line, and the code the process exits with.

use std::fmt;

/// Why the command stops. `Display` is one line that says what went wrong and, where there is one, the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    line: String,
    exit: u8,
}

impl Error {
    /// What was asked for makes no sense as it stands: exit code 2, as for arguments that can't be read.
    pub fn usage(line: impl Into<String>) -> Error {
        Error {
            line: line.into(),
            exit: 2,
        }
    }

    /// What was asked for was tried and did not work: exit code 1.
    pub fn failed(line: impl Into<String>) -> Error {
        Error {
            line: line.into(),
            exit: 1,
        }
    }

    /// The code to exit with.
    pub fn exit_code(&self) -> u8 {
        self.exit
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Texts of operating systems and peers may hold line breaks; the promise is one line.
        for (i, part) in self
            .line
            .split(['\n', '\r'])
            .filter(|p| !p.is_empty())
            .enumerate()
        {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(part.trim())?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_one_line_whatever_it_was_made_from() {
        assert_eq!(
            Error::failed("can't bind:\n  in use\r\n").to_string(),
            "can't bind: in use"
        );
        assert_eq!(
            (
                Error::failed("x").exit_code(),
                Error::usage("x").exit_code()
            ),
            (1, 2)
        );
    }
}
