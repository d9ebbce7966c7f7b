//! What was found, as a table for a person and as JSON, and what it means.

use std::fmt;
use std::time::Duration;

use posthole_protocol::{Config, Failure};

use super::caller::Seen;
use crate::units::Size;

/// The largest body that came through.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) passed: usize,
    /// One that did not, and why.
    pub(super) refused: Option<(usize, String)>,
}

/// What became of a request that was to be held.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) asked: Duration,
    /// It was ended before.
    pub(super) ended: Option<Ended>,
}

#[derive(Debug)]
pub(super) struct Ended {
    pub(super) age: Duration,
    pub(super) says: String,
}

/// Everything that was found; what was not asked is empty.
#[derive(Debug)]
pub struct Report {
    way: String,
    pub(super) reached: Option<Result<Duration, (Failure, String)>>,
    /// Of the certificate.
    pub(super) issuer: Option<String>,
    pub(super) trips: Vec<Duration>,
    /// So many exchanges took so many connections.
    pub(super) connections: Option<(u64, u64)>,
    pub(super) seen: Seen,
    /// When the first two pieces of a streamed answer came, or why they did not.
    pub(super) streamed: Option<Result<(Duration, Duration), String>>,
    /// A proxy, and whether the server answers without it.
    pub(super) bypass: Option<(String, Result<Duration, String>)>,
    pub(super) direct_port: Option<u16>,
    pub(super) direct: Option<Result<Duration, String>>,
    pub(super) up: Option<Sizes>,
    pub(super) down: Option<Sizes>,
    pub(super) holds: Vec<Held>,
    /// So many of so many at once.
    pub(super) together: Option<(usize, usize)>,
    pub(super) unasked: usize,
    pub(super) took: Duration,
}

/// One line: the question, the answer, and what it means.
struct Row(&'static str, &'static str, String, String);

impl Report {
    pub(super) fn new(way: &str) -> Report {
        Report {
            way: way.to_owned(),
            reached: None,
            issuer: None,
            trips: Vec::new(),
            connections: None,
            seen: Seen::default(),
            streamed: None,
            bypass: None,
            direct_port: None,
            direct: None,
            up: None,
            down: None,
            holds: Vec::new(),
            together: None,
            unasked: 0,
            took: Duration::ZERO,
        }
    }

    /// Why posthole would not work, if it would not.
    pub fn why_not(&self) -> Option<String> {
        match &self.reached {
            Some(Ok(_)) => {}
            Some(Err((_, says))) => return Some(format!("posthole will not work: {says}")),
            None => return Some("posthole was not tried".to_owned()),
        }
        let least = |sizes: &Option<Sizes>| sizes.as_ref().is_some_and(|s| s.passed < 32 * 1024);
        if least(&self.up) || least(&self.down) {
            return Some("posthole will not work: bodies of 32 KiB do not come through".to_owned());
        }
        None
    }

    /// The longest that a request was held, and the age at which something ended a longer one.
    fn hold(&self) -> (Option<Duration>, Option<&Ended>) {
        let longest = self.holds.iter().filter(|h| h.ended.is_none());
        let longest = longest.map(|h| h.asked).max();
        let ended = self.holds.iter().filter(|h| Some(h.asked) > longest);
        (longest, ended.filter_map(|h| h.ended.as_ref()).next())
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = vec![self.reach()];
        rows.extend(self.issuer_row());
        if !matches!(self.reached, Some(Ok(_))) {
            return rows;
        }
        rows.push(self.direct_row());
        rows.extend(self.bypass_row());
        rows.extend(self.via_row());
        rows.extend(self.connection_row());
        rows.extend(self.size_row("requests", "Largest request", &self.up));
        rows.extend(self.size_row("answers", "Largest answer", &self.down));
        rows.extend(self.hold_row());
        rows.extend(self.together_row());
        rows.extend(self.streamed_row());
        rows.push(self.unchanged_row());
        rows.push(self.doubled_row());
        rows
    }

    fn issuer_row(&self) -> Option<Row> {
        let means = "if that is your company's or a filter's, it reads what passes: encrypt inside";
        let issuer = self.issuer.clone()?;
        Some(Row(
            "issuer",
            "Certificate issued by",
            issuer,
            means.to_owned(),
        ))
    }

    fn bypass_row(&self) -> Option<Row> {
        let (proxy, answer) = self.bypass.as_ref()?;
        let (answer, means) = match answer {
            Ok(took) => (
                "yes",
                format!("{}; `--proxy none` would do without {proxy}", time(*took)),
            ),
            Err(why) => ("no", why.clone()),
        };
        Some(Row("bypass", "Without the proxy", answer.into(), means))
    }

    fn via_row(&self) -> Option<Row> {
        let via = self.seen.via.clone()?;
        let means = "as they name themselves".to_owned();
        Some(Row("via", "Boxes on the way", via, means))
    }

    fn streamed_row(&self) -> Option<Row> {
        let (answer, means) = match self.streamed.as_ref()? {
            Ok((first, _)) => (
                "yes",
                format!(
                    "the first part after {}; what the server says waits for no request",
                    time(*first)
                ),
            ),
            Err(why) => (
                "no",
                format!("{why}; a request waits at the server instead"),
            ),
        };
        Some(Row("streaming", "Streamed answers", answer.into(), means))
    }

    fn unchanged_row(&self) -> Row {
        let (answer, means) = match &self.seen {
            Seen {
                encoding: Some(encoding),
                ..
            } => (
                "no",
                format!("something compresses answers ({encoding}), which posthole does not read"),
            ),
            Seen { changed: true, .. } => (
                "no",
                "something changes answers: what it changes is asked for again".to_owned(),
            ),
            _ => ("yes", String::new()),
        };
        Row("unchanged", "Answers unchanged", answer.into(), means)
    }

    fn doubled_row(&self) -> Row {
        let (answer, means) = match self.seen.doubled {
            0 => ("no", String::new()),
            more => (
                "yes",
                format!(
                    "the server saw {more} requests more than were sent; nothing is carried twice"
                ),
            ),
        };
        Row("doubled", "Requests doubled", answer.into(), means)
    }

    fn reach(&self) -> Row {
        let (answer, means) = match &self.reached {
            Some(Ok(_)) => {
                let least = self.trips.iter().min();
                let trip = least.map_or(String::new(), |t| format!("{} there and back", time(*t)));
                ("yes".to_owned(), trip)
            }
            Some(Err((_, says))) => ("no".to_owned(), says.clone()),
            None => ("not tried".to_owned(), String::new()),
        };
        Row("reached", "Server answers", answer, means)
    }

    fn direct_row(&self) -> Row {
        let (answer, means) = match &self.direct {
            Some(Ok(took)) => (
                "yes".to_owned(),
                format!(
                    "{}; used for http URLs without a proxy, or with --tcp",
                    time(*took)
                ),
            ),
            Some(Err(why)) => ("no".to_owned(), format!("{why}; HTTP is used")),
            None => (
                "not offered".to_owned(),
                "the server takes none (serve --tcp); HTTP is used".to_owned(),
            ),
        };
        Row("direct", "Direct TCP", answer, means)
    }

    fn connection_row(&self) -> Option<Row> {
        let (exchanges, connections) = self.connections?;
        let answer = if connections <= 1 { "yes" } else { "no" };
        let means = if connections <= 1 {
            String::new()
        } else {
            format!(
                "{exchanges} requests took {connections} connections: each may cost a round trip more"
            )
        };
        Some(Row(
            "keep_alive",
            "Connections stay open",
            answer.into(),
            means,
        ))
    }

    fn size_row(
        &self,
        key: &'static str,
        question: &'static str,
        sizes: &Option<Sizes>,
    ) -> Option<Row> {
        let sizes = sizes.as_ref()?;
        let all = sizes.passed >= Config::default().body_max();
        let means = match &sizes.refused {
            Some((size, why)) if !all => format!("{size} bytes: {why}"),
            _ => "as large as posthole ever makes them".to_owned(),
        };
        let answer = Size(sizes.passed as u64).to_string();
        let answer = if all {
            format!("{answer} or more")
        } else {
            answer
        };
        Some(Row(key, question, answer, means))
    }

    fn hold_row(&self) -> Option<Row> {
        if self.holds.is_empty() {
            return None;
        }
        let (longest, ended) = self.hold();
        let answer = match (longest, ended) {
            (_, Some(ended)) => format!("{} at most", time(ended.age)),
            (Some(longest), None) => format!("{} or more", time(longest)),
            (None, None) => "not at all".to_owned(),
        };
        let wait = self.wait();
        let means = match ended {
            Some(ended) => format!("{}; asked for {} at a time", ended.says, time(wait)),
            None => format!("asked for {} at a time", time(wait)),
        };
        Some(Row("hold", "A request may wait", answer, means))
    }

    /// For how long posthole will have requests held.
    fn wait(&self) -> Duration {
        let most = Config::default().wait();
        match self.hold() {
            (_, Some(ended)) => (ended.age * 4 / 5).max(Duration::from_secs(5)).min(most),
            (_, None) => most,
        }
    }

    fn together_row(&self) -> Option<Row> {
        let (at_once, asked) = self.together?;
        let means = if at_once <= 1 {
            "one after another: slower, and the server is asked often".to_owned()
        } else {
            "posthole uses 4 to 12 while much moves, 1 at rest".to_owned()
        };
        let more = if at_once == asked { " or more" } else { "" };
        Some(Row(
            "together",
            "Requests at once",
            format!("{at_once}{more}"),
            means,
        ))
    }

    /// What it comes to, in a sentence or two.
    fn sums_up(&self) -> String {
        if let Some(why) = self.why_not() {
            return why;
        }
        let by = match &self.direct {
            Some(Ok(_)) => "by a direct connection where that is allowed, else in HTTP requests",
            Some(Err(_)) | None => "in HTTP requests",
        };
        let answers = match &self.streamed {
            Some(Ok(_)) => ", with answers that go on",
            Some(Err(_)) | None => "",
        };
        format!(
            "posthole will work: {by}{answers}, asking the server every {} at rest.",
            time(self.wait())
        )
    }

    /// All of it, as JSON.
    pub fn json(&self) -> String {
        let mut out = String::from("{");
        let mut field = |name: &str, value: String| {
            if out.len() > 1 {
                out.push(',');
            }
            out.push_str(&format!("{}:{value}", quote(name)));
        };
        field("way", quote(&self.way));
        field("works", self.why_not().is_none().to_string());
        field("says", quote(&self.sums_up()));
        if let Some(Err((failure, _))) = &self.reached {
            field("failure", quote(super::kind(*failure)));
        }
        for Row(key, _, answer, means) in self.rows() {
            let value = format!(
                "{{\"answer\":{},\"means\":{}}}",
                quote(&answer),
                quote(&means)
            );
            field(key, value);
        }
        let sizes = |sizes: &Option<Sizes>| sizes.as_ref().map(|s| s.passed.to_string());
        let (longest, ended) = self.hold();
        let numbers = [
            ("request_bytes", sizes(&self.up)),
            ("answer_bytes", sizes(&self.down)),
            ("held_seconds", longest.map(|d| d.as_secs_f32().to_string())),
            (
                "hold_ended_seconds",
                ended.map(|e| e.age.as_secs_f32().to_string()),
            ),
            ("at_once", self.together.map(|(n, _)| n.to_string())),
            ("seconds", Some(self.took.as_secs_f32().to_string())),
        ];
        for (name, value) in numbers {
            if let Some(value) = value {
                field(name, value);
            }
        }
        out.push('}');
        out
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", self.way)?;
        for Row(_, question, answer, means) in self.rows() {
            writeln!(
                f,
                "{}",
                format!("  {question:<24}{answer:<18}  {means}").trim_end()
            )?;
        }
        // What stands in the way is said as the error that it is.
        match self.why_not() {
            None => writeln!(f, "\n{}", self.sums_up()),
            Some(_) => Ok(()),
        }
    }
}

fn time(time: Duration) -> String {
    match time {
        t if t < Duration::from_millis(1) => format!("{} us", t.as_micros()),
        t if t < Duration::from_secs(1) => format!("{} ms", t.as_millis()),
        t => format!("{:.3} s", t.as_secs_f32()).replace(".000", ""),
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_with_a_long_name_stands_apart_from_what_is_said_of_it() {
        let mut report = Report::new("http://127.0.0.1:9/");
        report.reached = Some(Ok(Duration::ZERO));
        report.seen.via = Some("1.1 varnish (Varnish/7.1)".to_owned());
        let line = "  Boxes on the way        1.1 varnish (Varnish/7.1)  as they name themselves\n";
        assert!(report.to_string().contains(line), "{report}");
    }
}
