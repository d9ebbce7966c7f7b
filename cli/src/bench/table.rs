//! The table at the end.

use std::fmt;
use std::thread;

use super::load::Load;
use super::results::{Results, Row};
use crate::args::Bench;
use crate::units::Size;

/// Under what circumstances it was measured.
#[derive(Debug)]
pub(super) struct About<'a> {
    pub(super) args: &'a Bench,
    /// How many processors were busy with other things; none if that is not known.
    pub(super) others: Option<f64>,
}

impl About<'_> {
    /// How many processors there are.
    pub(super) fn processors(&self) -> usize {
        thread::available_parallelism().map_or(1, |n| n.get())
    }
}

/// For reading.
pub(super) struct Table<'a>(pub(super) &'a Results, pub(super) &'a About<'a>);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Table(results, about) = self;
        writeln!(
            f,
            "{:<18} {:>13} {:>9} {:>8}   {:>13} {:>9}   {:>9}",
            "", "median", "of relay", "spread", "processor", "of relay", "peak"
        )?;
        for &load in results.loads() {
            writeln!(f, "{}", load.title())?;
            for system in results.systems(load) {
                let row = row(load, &results.row(load, system));
                writeln!(f, "  {system:<16} {}", row.trim_end())?;
            }
        }
        writeln!(f, "{}", legend(about))
    }
}

fn row(load: Load, row: &Row) -> String {
    let with = |value: Option<f64>, unit: &str| match value {
        Some(value) if !unit.is_empty() => format!("{} {unit}", short(value)),
        Some(_) | None => "-".into(),
    };
    let plain = |value: Option<f64>| value.map_or("-".into(), short);
    let spread = row
        .spread
        .map_or("-".into(), |s| format!("±{:.0} %", s * 100.0));
    let peak = row.peak.map_or("-".into(), |bytes| {
        Size(bytes.next_multiple_of(1 << 20)).to_string()
    });
    let also: Vec<String> = row
        .also
        .iter()
        .map(|(name, value)| format!("{} {name}", plain(*value)))
        .collect();
    format!(
        "{:>13} {:>9} {:>8}   {:>13} {:>9}   {:>9}   {}",
        with(row.figure, load.unit()),
        plain(row.ratio),
        spread,
        with(row.processor, load.processor_unit()),
        plain(row.processor_ratio),
        peak,
        also.join(", ")
    )
}

/// Three digits where they matter.
fn short(value: f64) -> String {
    match value.abs() {
        v if v < 9.995 => format!("{value:.2}"),
        v if v < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// What is between the ends, in words.
fn path(args: &Bench) -> String {
    let rtt = args.rtt.filter(|rtt| !rtt.is_zero());
    let mut is: Vec<String> = Vec::new();
    is.extend(rtt.map(|rtt| format!("{} ms", rtt.as_secs_f64() * 1e3)));
    is.extend(args.rate.map(|rate| format!("{rate} Mbit/s")));
    let mut path = match is.is_empty() {
        true => "on loopback".into(),
        false => format!("over a path of {}", is.join(" and ")),
    };
    if args.direct {
        path.push_str(", by direct TCP");
    }
    if let Some(loss) = args.loss {
        path.push_str(&format!(", {loss} % of the exchanges lost"));
    }
    path
}

fn legend(about: &About<'_>) -> String {
    let Bench {
        rounds,
        seconds,
        idle,
        ..
    } = about.args;
    let path = path(about.args);
    let others = about.others.map_or(String::new(), |others| {
        format!(", {others:.1} of them busy with other things")
    });
    format!(
        "\n{rounds} rounds of {} s {path}, {} processors{others}; {idle} idle ones. Every byte was checked.\n\
         of relay: the median, over the rounds, of the ratio to two plain relays; more is better for MB/s and /s, less\n\
         for µs and KiB. spread: half the distance between the quartiles. processor, peak: user and system time, for\n\
         each GB, round trip or connection, and memory of the tunnel's two processes.",
        seconds.as_secs_f64(),
        about.processors(),
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::results::tests::some;
    use super::*;
    use clap::Parser;

    #[test]
    fn figures_have_three_digits_where_they_matter() {
        for (value, text) in [
            (0.123, "0.12"),
            (9.996, "10.0"),
            (45.67, "45.7"),
            (99.96, "100"),
            (1234.5, "1234"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn the_table_stands_in_columns() {
        let cli = crate::args::Cli::try_parse_from(["posthole", "bench", "--rounds", "3"]).unwrap();
        let crate::args::Command::Bench(args) = cli.command else {
            unreachable!("as parsed")
        };
        let about = About {
            args: &args,
            others: Some(0.25),
        };
        let text = Table(&some(), &about).to_string();
        let expected = "                          median  of relay   spread       processor  of relay        peak
bytes down, one connection
  relay                2000 MB/s      1.00    ±14 %       0.50 s/GB      1.00       8 MiB
  blocking             1000 MB/s      0.65    ±20 %       1.05 s/GB      2.10       8 MiB
an idle session, at the server
  blocking              15.2 KiB         -        -               -         -           -   30.0 KiB client
";
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("3 rounds of 1 s on loopback"), "{text}");
    }
}
