//! `posthole bench` measures something, and leaves nothing running.
#![allow(clippy::unwrap_used)]

mod support;

use support::{Posthole, run};

#[test]
fn every_test_comes_to_a_figure_and_a_line() {
    let json = std::env::temp_dir().join(format!("posthole-bench-{}.json", std::process::id()));
    let (code, stdout, stderr) = run(&format!(
        "bench --rounds 1 --seconds 20ms --idle 3 --rest 0s --json {} -q",
        json.display()
    ));
    assert_eq!(code, Some(0), "{stderr:#?}");
    let written = std::fs::read_to_string(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    for part in [
        "bytes up, one connection",
        "bytes down, eight connections",
        "64 bytes there and back",
        "MB/s beside",
        "opened, used once, closed",
        "an idle connection",
        "an idle session",
        "relay",
        "blocking",
        "smol",
        "Every byte was checked",
    ] {
        assert!(stdout.contains(part), "no {part} in\n{stdout}");
    }
    for test in ["up8", "ping-busy", "churn", "idle-streams"] {
        assert!(
            written.contains(&format!("\"test\": \"{test}\"")),
            "{written}"
        );
    }
    assert!(!written.contains("\"samples\": [null]"), "{written}");
}

#[test]
fn a_longer_path_is_in_the_way_of_all_alike() {
    let (code, stdout, stderr) = run("bench --tests ping --rounds 1 --seconds 20ms --rtt 30ms -q");
    assert_eq!(code, Some(0), "{stderr:#?}");
    let lines: Vec<_> = stdout.lines().filter(|l| l.contains("p99")).collect();
    assert!(lines.len() >= 2, "{stdout}");
    for line in lines {
        let median: f64 = line
            .split_whitespace()
            .find_map(|word| word.parse().ok())
            .unwrap();
        assert!(median >= 30_000.0, "{line}");
    }
    assert!(stdout.contains("over a path of 30 ms"), "{stdout}");
}

#[test]
fn a_narrow_path_and_lost_exchanges_are_said_and_survived() {
    let (code, stdout, stderr) = run(
        "bench --tests up --rounds 1 --seconds 300ms --rtt 10ms --rate 50 --loss 5 --runtimes blocking -q",
    );
    assert_eq!(code, Some(0), "{stderr:#?}");
    let said = "over a path of 10 ms and 50 Mbit/s, 5 % of the exchanges lost";
    assert!(stdout.contains(said), "{stdout}");
    let rates = stdout.lines().filter(|line| line.contains("MB/s  "));
    for line in rates {
        let mut words = line.split_whitespace();
        let rate: f64 = words.find_map(|word| word.parse().ok()).unwrap();
        // What waited in buffers at the end counts as carried.
        assert!(rate < 50.0, "{line}");
    }
}

#[test]
fn direct_connections_are_measured_where_they_are_asked_for() {
    let (code, stdout, stderr) =
        run("bench --tests up8,ping --rounds 1 --seconds 20ms --direct -q");
    assert_eq!(code, Some(0), "{stderr:#?}");
    assert!(stdout.contains("on loopback, by direct TCP"), "{stdout}");
    let (code, _, stderr) = run("bench --direct --rtt 10ms");
    assert_eq!(code, Some(2), "{stderr:#?}");
}

#[cfg(target_os = "linux")]
mod ends {
    use super::*;
    use rustix::process::Signal;
    use std::path::Path;
    use std::time::{Duration, Instant};
    use support::LIMIT;

    /// The processes that it has started and that still run.
    fn children(of: u32) -> Vec<u32> {
        let tasks = std::fs::read_dir(format!("/proc/{of}/task")).unwrap();
        let lists =
            tasks.map(|task| std::fs::read_to_string(task.unwrap().path().join("children")));
        let list = lists.map(Result::unwrap).collect::<Vec<_>>().concat();
        list.split_whitespace()
            .map(|id| id.parse().unwrap())
            .collect()
    }

    /// A run in its first measurement, and the processes of that.
    fn running() -> (Posthole, Vec<u32>) {
        let bench =
            Posthole::start("bench --tests ping --runtimes relay --seconds 300s --rounds 1");
        let until = Instant::now() + LIMIT;
        loop {
            let children = children(bench.id());
            if children.len() == 3 {
                return (bench, children);
            }
            assert!(
                Instant::now() < until,
                "far end and two relays: {children:?}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn is_there(id: u32) -> bool {
        // What has ended and waits for whoever adopted it is not there any more.
        std::fs::read_to_string(format!("/proc/{id}/stat"))
            .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
    }

    #[test]
    fn an_interrupt_ends_it_and_all_its_processes() {
        let (bench, children) = running();
        bench.signal(Signal::INT);
        assert_eq!(bench.end().0, Some(130));
        assert!(
            !children
                .iter()
                .any(|id| Path::new(&format!("/proc/{id}")).exists())
        );
    }

    #[test]
    fn even_when_it_is_killed_its_processes_end() {
        let (bench, children) = running();
        bench.signal(Signal::KILL);
        assert_eq!(bench.end().0, None);
        let until = Instant::now() + LIMIT;
        while children.iter().any(|id| is_there(*id)) {
            assert!(Instant::now() < until, "still there: {children:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
