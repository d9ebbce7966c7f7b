//! What processes use: processor time and memory, as Linux tells it in `/proc`. Elsewhere nothing is known.

use std::fs;
use std::time::Duration;

/// User and system time of these processes together, their ended threads included. None if one of them can't be asked.
pub(super) fn processor(ids: &[u32]) -> Option<Duration> {
    let texts = ids
        .iter()
        .map(|id| fs::read_to_string(format!("/proc/{id}/stat")).ok());
    let ticks: Option<u64> = texts.map(|text| ticks(&text?, &[14, 15])).sum();
    Some(seconds(ticks?))
}

/// As much as was ever in memory at once, of each process, together; in bytes.
pub(super) fn peak(ids: &[u32]) -> Option<u64> {
    ids.iter().map(|id| of_status(*id, "VmHWM:")).sum()
}

/// What a process has in memory; in bytes.
pub(super) fn resident(id: u32) -> Option<u64> {
    of_status(id, "VmRSS:")
}

fn of_status(id: u32, name: &str) -> Option<u64> {
    kib(
        &fs::read_to_string(format!("/proc/{id}/status")).ok()?,
        name,
    )
}

/// The value of this line of a `/proc/ID/status`, in bytes.
fn kib(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The sum of these fields of a `/proc/ID/stat`, numbered from 1 as in proc(5).
fn ticks(stat: &str, fields: &[usize]) -> Option<u64> {
    // The second field is the command's name in brackets, which may hold spaces and brackets itself.
    let (_, rest) = stat.rsplit_once(')')?;
    let rest: Vec<&str> = rest.split_whitespace().collect();
    fields
        .iter()
        .map(|field| rest.get(field.checked_sub(3)?)?.parse::<u64>().ok())
        .sum()
}

fn seconds(ticks: u64) -> Duration {
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// How busy the machine has been since, and how much of that is not this process' doing or its ended children's.
pub(super) struct Machine {
    began: std::time::Instant,
    all: Duration,
    own: Duration,
}

impl Machine {
    /// From here on.
    pub(super) fn start() -> Option<Machine> {
        Some(Machine {
            began: std::time::Instant::now(),
            all: machine()?,
            own: own()?,
        })
    }

    /// How many processors others have kept busy.
    pub(super) fn others(&self) -> Option<f64> {
        let all = machine()?.saturating_sub(self.all);
        let own = own()?.saturating_sub(self.own);
        Some(all.saturating_sub(own).as_secs_f64() / self.began.elapsed().as_secs_f64().max(1e-3))
    }
}

fn own() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    Some(seconds(ticks(&stat, &[14, 15, 16, 17])?))
}

/// All the time that processors have not been idle.
fn machine() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    // user, nice, system, idle, iowait, irq, softirq, steal; what follows is counted in the first two.
    let busy = fields
        .take(8)
        .enumerate()
        .filter(|(i, _)| !matches!(i, 3 | 4));
    let ticks: Option<u64> = busy.map(|(_, field)| field.parse::<u64>().ok()).sum();
    Some(seconds(ticks?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fields_are_counted_behind_the_name() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194304 1 2 3 4 70 30 5 6 20 0";
        assert_eq!(ticks(stat, &[14, 15]), Some(100));
        assert_eq!(ticks(stat, &[16, 17]), Some(11));
        assert_eq!(ticks("42 (a) S 1", &[14]), None);
        assert_eq!(ticks("", &[14]), None);
    }

    #[test]
    fn memory_is_read_by_its_lines_name() {
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1000 kB\n";
        assert_eq!(kib(status, "VmHWM:"), Some(2 << 20));
        assert_eq!(kib(status, "VmRSS:"), Some(1_024_000));
        assert_eq!(kib(status, "VmSwap:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_somewhere() {
        let id = std::process::id();
        assert!(resident(id).unwrap() > 100_000 && peak(&[id, id]).unwrap() > 200_000);
        processor(&[id]).unwrap();
        assert!(Machine::start().unwrap().others().is_some());
        assert_eq!(processor(&[id, u32::MAX]), None);
    }
}
