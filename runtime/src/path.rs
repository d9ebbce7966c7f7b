//! How the path to the server does, as far as a person should hear of it: once when it fails, once when it works
//! again. Single exchanges get lost on many paths all the time; that is the protocol's daily work and logged at debug.

/// After how many failures in a row, with no answer between, the path has failed.
const FAILED: u32 = 3;

/// What exchanges came to lately.
#[derive(Default)]
pub(crate) struct Path {
    answered_once: bool,
    failures: u32,
    warned: bool,
    trouble: Option<String>,
}

/// Something to log, once the lock is released.
pub enum News {
    /// No way to the server, and why.
    Failed(String),
    /// It answers again.
    Works,
}

impl Path {
    pub(crate) fn answered(&mut self) {
        self.answered_once = true;
        self.failures = 0;
    }

    pub(crate) fn failed(&mut self, trouble: String) {
        self.failures = self.failures.saturating_add(1);
        self.trouble = Some(trouble);
    }

    /// What went wrong last.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What changed since the last call. A path that never worked has failed with its first exchange.
    pub(crate) fn news(&mut self) -> Option<News> {
        let enough = if self.answered_once { FAILED } else { 1 };
        if !self.warned && self.failures >= enough {
            self.warned = true;
            return self.trouble.clone().map(News::Failed);
        }
        if self.warned && self.failures == 0 {
            self.warned = false;
            return Some(News::Works);
        }
        None
    }
}

impl News {
    /// Logs it.
    pub fn tell(self) {
        match self {
            News::Failed(trouble) => {
                tracing::warn!("no way to the server: {trouble}; trying on");
            }
            News::Works => tracing::info!("the server answers again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_per_change_and_none_for_a_single_loss() {
        let mut path = Path::default();
        let mut said = Vec::new();
        let mut hear = |path: &mut Path| match path.news() {
            Some(News::Failed(why)) => said.push(why),
            Some(News::Works) => said.push("works".into()),
            None => {}
        };
        for outcome in "-xxx.x.xx.xxxxx.".chars() {
            match outcome {
                'x' => path.failed("refused".into()),
                '.' => path.answered(),
                _ => {}
            }
            hear(&mut path);
        }
        assert_eq!(said, ["refused", "works", "refused", "works"]);
    }

    #[test]
    fn what_went_wrong_last_is_known_when_it_works_again() {
        let mut path = Path::default();
        path.failed("refused".into());
        path.answered();
        assert_eq!(path.trouble(), Some("refused"));
    }
}
