//! Draws `docs/figures/*.svg` and writes `docs/figures/README.md`: throughput on simulated paths, for the source's own
//! schedule, the default, a streamed answer, a direct connection, and TCP by its usual model.
//!
//! `cargo run --release -p posthole-tests --example figures`; about a minute. The same bytes come out each time.
#![allow(clippy::unwrap_used)] // Whoever runs it sees what is wrong.

use posthole_protocol::{Carrier, Config};
use posthole_tests::app::Script;
use posthole_tests::fault::{Fate, Fault};
use posthole_tests::pair::Pair;
use posthole_tests::rng::Rng;
use posthole_tests::{MS, SEC, settings};
use std::fmt::Write;
use std::fs;
use std::path::Path;

/// Bytes per second of the path, each way: 100 Mbit/s.
const RATE: f64 = 12_500_000.0;
/// What is moved in each run, towards the client.
const BYTES: u64 = 30_000_000;

/// One path.
#[derive(Clone, Copy)]
struct Way {
    /// Microseconds there and back.
    trip: u64,
    /// How many of a thousand exchanges are lost: every second in silence, the others with an error.
    lost: u64,
}

/// One way to behave.
#[derive(Clone, Copy)]
enum Kind {
    Classic,
    Default,
    Streamed,
    Direct,
    /// The default, with other numbers.
    With {
        requests: u8,
        body: u32,
    },
}

impl Kind {
    fn config(self) -> Config {
        let by = |carrier| Config::builder().carrier(carrier).build().unwrap();
        match self {
            Kind::Classic => settings::classic(),
            Kind::Default => by(Carrier::Exchange),
            Kind::Streamed => by(Carrier::Streamed),
            Kind::Direct => by(Carrier::Direct),
            Kind::With { requests, body } => Config::builder()
                .carrier(Carrier::Exchange)
                .requests(requests)
                .body_first(body.min(65_536))
                .body_max(body)
                .build()
                .unwrap(),
        }
    }
}

/// Bytes per second that arrive.
fn measure(kind: Kind, way: Way) -> f64 {
    let server = match kind {
        Kind::Classic => settings::classic(),
        Kind::With { .. } => kind.config(),
        Kind::Default | Kind::Streamed | Kind::Direct => settings::direct(),
    };
    let mut pair = Pair::many(1, 1, kind.config(), server);
    pair.net.conditions.delay_up = way.trip / 2;
    pair.net.conditions.delay_down = way.trip / 2;
    let rate = Some(RATE as u64);
    pair.net.set_rate(rate, rate);
    pair.net.direct.delay = way.trip / 2;
    pair.net.direct.rate = rate;
    pair.net.direct.allowed = Some(matches!(kind, Kind::Direct));
    if matches!(kind, Kind::Direct) {
        let now = posthole_protocol::Instant::from_micros(pair.now);
        let head_start = posthole_protocol::Duration::from_millis(300);
        pair.client().machine.knows_direct(now, head_start);
    }
    let mut rng = Rng::new(7);
    pair.net.rule = Box::new(move |_| {
        if rng.below(1_000) >= way.lost {
            return Fault::NONE;
        }
        match rng.below(4) {
            0 => Fault::request(Fate::Lose),
            1 => Fault::response(Fate::Lose),
            2 => Fault::request(Fate::Fail(posthole_protocol::Failure::Cut)),
            _ => Fault::response(Fate::Fail(posthole_protocol::Failure::Cut)),
        }
    });
    pair.serve(Script::bulk(BYTES));
    pair.client().play(Script::bulk(1));
    let began = pair.now;
    pair.run_to_end(36_000 * SEC);
    BYTES as f64 / ((pair.now - began) as f64 / 1e6)
}

/// TCP without loss: slow start from ten segments (RFC 6928), doubling each round trip until the path is full.
fn tcp(way: Way) -> f64 {
    let trip = way.trip as f64 / 1e6;
    let (mut window, mut left, mut time) = (14_600.0, BYTES as f64, 2.0 * trip);
    while left > 0.0 && window < RATE * trip {
        left -= window;
        window *= 2.0;
        time += trip;
    }
    BYTES as f64 / (time + left.max(0.0) / RATE)
}

/// TCP where so many of a thousand segments are lost (Mathis et al., 1997).
fn tcp_lossy(way: Way) -> f64 {
    if way.lost == 0 {
        return tcp(way);
    }
    let loss = way.lost as f64 / 1e3;
    let rate = 1_460.0 / (way.trip as f64 / 1e6) * (1.5 / loss).sqrt();
    rate.min(RATE)
}

/// A line of a plot: its name, and a point for each place on the axis.
struct Line(&'static str, Vec<(f64, f64)>);

struct Plot {
    file: &'static str,
    title: &'static str,
    axis: &'static str,
    lines: Vec<Line>,
    /// What it shows, in words.
    says: &'static str,
}

const COLOURS: [&str; 5] = ["#c0392b", "#2471a3", "#1e8449", "#b7950b", "#7f8c8d"];

/// The picture's size, and its margins.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 46.0;
/// What the axis upwards begins and ends with, in bytes per second.
const LOW: f64 = 10_000.0;
const HIGH: f64 = 20_000_000.0;

impl Plot {
    fn ends(&self) -> (f64, f64) {
        let all = self.lines.iter().flat_map(|line| &line.1);
        let all = all.map(|(x, _)| *x);
        (
            all.clone().fold(f64::MAX, f64::min),
            all.fold(0.0, f64::max),
        )
    }

    /// Both axes grow by factors.
    fn svg(&self) -> String {
        let (first, last) = self.ends();
        let across = |x: f64| {
            let part = (x / first).ln() / (last / first).ln();
            LEFT + part * (WIDTH - LEFT - RIGHT)
        };
        let up = |y: f64| {
            let part = (y.max(LOW) / LOW).ln() / (HIGH / LOW).ln();
            HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
        };
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
             font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
            self.title
        );
        for (rate, name) in [
            (1e4, "10 kB/s"),
            (1e5, "100 kB/s"),
            (1e6, "1 MB/s"),
            (1e7, "10 MB/s"),
            (RATE, "the path"),
        ] {
            let (y, dash) = (up(rate), if rate == RATE { "4 3" } else { "none" });
            let right = WIDTH - RIGHT;
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ccc\" stroke-dasharray=\"{dash}\"/>"
            );
            let (x, anchor) = if rate == RATE {
                (right + 4.0, "start")
            } else {
                (LEFT - 6.0, "end")
            };
            let _ = writeln!(
                out,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"#555\">{name}</text>",
                y + 4.0
            );
        }
        let marks: Vec<f64> = self.lines[0].1.iter().map(|(x, _)| *x).collect();
        for x in marks {
            let (at, y) = (across(x), HEIGHT - BOTTOM + 16.0);
            let _ = writeln!(
                out,
                "<text x=\"{at:.1}\" y=\"{y}\" text-anchor=\"middle\" fill=\"#555\">{}</text>",
                mark(x)
            );
        }
        let (middle, below) = ((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 10.0);
        let _ = writeln!(
            out,
            "<text x=\"{middle}\" y=\"{below}\" text-anchor=\"middle\">{}</text>",
            self.axis
        );
        // Names stand where lines end, and not upon each other.
        let mut taken: Vec<f64> = vec![up(RATE)];
        for (line, colour) in self.lines.iter().zip(COLOURS) {
            let points: Vec<String> = line
                .1
                .iter()
                .map(|(x, y)| format!("{:.1},{:.1}", across(*x), up(*y)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
                points.join(" ")
            );
            let (x, y) = line.1[line.1.len() - 1];
            let mut place = up(y);
            while taken.iter().any(|other| (other - place).abs() < 13.0) {
                place += 2.0;
            }
            taken.push(place);
            let _ = writeln!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
                across(x) + 6.0,
                place + 4.0,
                line.0
            );
        }
        out.push_str("</svg>\n");
        out
    }

    /// The same in numbers.
    fn table(&self) -> String {
        let mut out = format!("| {} |", self.axis);
        for line in &self.lines {
            let _ = write!(out, " {} |", line.0);
        }
        out.push_str("\n|");
        for _ in 0..=self.lines.len() {
            out.push_str(" --- |");
        }
        out.push('\n');
        for (i, (x, _)) in self.lines[0].1.iter().enumerate() {
            let _ = write!(out, "| {} |", mark(*x));
            for line in &self.lines {
                let _ = write!(out, " {:.2} |", line.1[i].1 / RATE);
            }
            out.push('\n');
        }
        out
    }
}

/// A number as it stands at an axis.
fn mark(x: f64) -> String {
    match x {
        x if x >= 1e6 => format!("{}M", x / 1e6),
        x if x >= 1e4 => format!("{:.0}k", x / 1024.0),
        x => format!("{x}"),
    }
}

fn line(name: &'static str, places: &[f64], value: impl Fn(f64) -> f64) -> Line {
    Line(name, places.iter().map(|x| (*x, value(*x))).collect())
}

fn plots() -> Vec<Plot> {
    let by_trip = [1.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
    let trip = |x: f64| Way {
        trip: (x * 1000.0) as u64,
        lost: 0,
    };
    let by_loss = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0];
    let loss = |x: f64| Way {
        trip: 50 * MS,
        lost: (x * 10.0) as u64,
    };
    let bodies = [32, 64, 128, 256, 512, 1024].map(|kib| f64::from(kib * 1024));
    let body = |x: f64| Kind::With {
        requests: 12,
        body: x as u32,
    };
    let by_requests = [1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0];
    let requests = |x: f64| Kind::With {
        requests: x as u8,
        body: 1_000_000,
    };
    vec![
        Plot {
            file: "round-trip.svg",
            title: "Throughput and round trip, 100 Mbit/s",
            axis: "round trip, ms",
            lines: vec![
                line("the source's schedule", &by_trip, |x| {
                    measure(Kind::Classic, trip(x))
                }),
                line("default", &by_trip, |x| measure(Kind::Default, trip(x))),
                line("one streamed answer", &by_trip, |x| {
                    measure(Kind::Streamed, trip(x))
                }),
                line("direct connection", &by_trip, |x| {
                    measure(Kind::Direct, trip(x))
                }),
                line("TCP (model)", &by_trip, |x| tcp(trip(x))),
            ],
            says: "The source's schedule has two exchanges and bundles of ten messages, so it moves a bundle or two each \
                   round trip and falls as the path grows. The default widens both bundles and the number of exchanges \
                   until the path is full, as TCP widens its window; what is left between them is that beginning. The \
                   model of a direct connection has no TCP below it: it shows what our own pacing costs.",
        },
        Plot {
            file: "loss.svg",
            title: "Throughput and loss, 100 Mbit/s and 50 ms",
            axis: "lost exchanges (TCP: segments), percent",
            lines: vec![
                line("the source's schedule", &by_loss, |x| {
                    measure(Kind::Classic, loss(x))
                }),
                line("default", &by_loss, |x| measure(Kind::Default, loss(x))),
                line("one streamed answer", &by_loss, |x| {
                    measure(Kind::Streamed, loss(x))
                }),
                line("TCP (model)", &by_loss, |x| tcp_lossy(loss(x))),
            ],
            says: "Half of what is lost vanishes in silence, half is an error. An exchange that is lost holds up only its \
                   own messages: others go on, and a copy goes as soon as something newer has overtaken it, or after one \
                   timer. TCP's line is another kind of loss, of single segments, and stands there for scale: an exchange \
                   rides on a TCP connection that mends those itself.",
        },
        Plot {
            file: "bundle.svg",
            title: "Throughput and the largest bundle, 100 Mbit/s",
            axis: "largest bundle, KiB",
            lines: vec![
                line("10 ms", &bodies, |x| measure(body(x), trip(10.0))),
                line("50 ms", &bodies, |x| measure(body(x), trip(50.0))),
                line("200 ms", &bodies, |x| measure(body(x), trip(200.0))),
            ],
            says: "With up to twelve exchanges, the largest bundle matters where the path holds more than twelve of them: \
                   at 200 ms a path of 100 Mbit/s holds 2.5 MB. 1,000,000 bytes is what fills it and still passes the \
                   limits of common boxes (nginx: 1 MiB); where a box lets less through, the size is halved (A25).",
        },
        Plot {
            file: "exchanges.svg",
            title: "Throughput and the number of exchanges, 100 Mbit/s",
            axis: "exchanges open at most",
            lines: vec![
                line("10 ms", &by_requests, |x| measure(requests(x), trip(10.0))),
                line("50 ms", &by_requests, |x| measure(requests(x), trip(50.0))),
                line("200 ms", &by_requests, |x| {
                    measure(requests(x), trip(200.0))
                }),
            ],
            says: "One exchange moves one bundle a round trip. From six or eight on little is gained at 50 ms; twelve is \
                   what 200 ms wants, and what browsers would open to two hosts. The first exchanges are four, and more \
                   come only while bundles are full and a longer path is seen to want them.",
        },
    ]
}

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/figures");
    fs::create_dir_all(&folder).unwrap();
    let mut page = String::from(
        "# Throughput on simulated paths\n\n\
         Drawn by `cargo run --release -p posthole-tests --example figures`, which gives the same bytes each time: the two \
         machines in virtual time, 30 MB towards the client over a path of 100 Mbit/s each way, from the first request to \
         the last byte. The numbers are parts of the path's rate (S20).\n",
    );
    for plot in plots() {
        fs::write(folder.join(plot.file), plot.svg()).unwrap();
        let _ = write!(
            page,
            "\n## {}\n![{}]({})\n\n{}\n\n{}",
            plot.title,
            plot.title,
            plot.file,
            plot.says,
            plot.table()
        );
        eprintln!("{}", plot.file);
    }
    fs::write(folder.join("README.md"), page).unwrap();
}
