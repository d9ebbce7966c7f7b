//! The table at the demo's end.

use std::fmt;
use std::time::Duration;

use posthole_runtime::Stats;

use super::file::{Carried, File};
use crate::hostile::{Counts, Fault};
use crate::units::{Rate, Size};

/// All that the demo found out.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) file: File,
    pub(super) percent: f64,
    /// Through proxy and session.
    pub(super) tunnel: Carried,
    /// Over TCP on loopback.
    pub(super) plain: Carried,
    /// What the client's session did.
    pub(super) client: Stats,
    /// What passed the proxy.
    pub(super) proxy: Counts,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report {
            file,
            tunnel,
            plain,
            client,
            proxy,
            ..
        } = self;
        let carried = 2 * file.size;
        let wire = proxy.up + proxy.down;
        row(
            f,
            "",
            &["through the proxy".into(), "plain TCP beside it".into()],
        )?;
        row(
            f,
            "up",
            &[
                speed(file.size, tunnel.up_time),
                speed(file.size, plain.up_time),
            ],
        )?;
        row(
            f,
            "down",
            &[
                speed(file.size, tunnel.down_time),
                speed(file.size, plain.down_time),
            ],
        )?;
        row(
            f,
            "time",
            &[
                seconds(tunnel.up_time + tunnel.down_time),
                seconds(plain.up_time + plain.down_time),
            ],
        )?;
        row(
            f,
            "bytes",
            &[format!("{carried} ({} each way)", Size(file.size))],
        )?;
        let per_byte = wire as f64 / (carried as f64).max(1.0);
        row(
            f,
            "on the wire",
            &[format!("{wire}, {per_byte:.3} per byte carried")],
        )?;
        row(
            f,
            "exchanges",
            &[format!(
                "{} made, {} lost; {} messages re-sent on the way up",
                client.exchanges, client.lost, client.resent
            )],
        )?;
        row(
            f,
            "faults",
            &[format!(
                "{} of {} exchanges ({} % asked for)",
                proxy.harmed(),
                proxy.exchanges,
                self.percent
            )],
        )?;
        for (fault, times) in Fault::ALL
            .iter()
            .zip(proxy.faults)
            .filter(|(_, times)| *times > 0)
        {
            row(f, "", &[format!("{times:>5} {fault}")])?;
        }
        if tunnel.is_equal() && plain.is_equal() {
            return row(f, "SHA-256 equal", &[tunnel.sent.to_string()]);
        }
        row(f, "SHA-256 DIFFERENT", &[format!("sent {}", tunnel.sent)])?;
        row(f, "", &[format!("up   {}", tunnel.up)])?;
        row(f, "", &[format!("down {}", tunnel.down)])
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, cells: &[String]) -> fmt::Result {
    let mut line = format!("  {name:<18}");
    for cell in cells {
        line.push_str(&format!("{cell:<26}"));
    }
    writeln!(f, "{}", line.trim_end())
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

fn speed(bytes: u64, time: Duration) -> String {
    format!("{}  {}", seconds(time), Rate(bytes, time))
}
