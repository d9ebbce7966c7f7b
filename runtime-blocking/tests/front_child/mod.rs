//! A front in a process of its own, where what belongs to the process is bounded or measured.
#![allow(dead_code, unreachable_pub)]

use crate::front_common::{Dummy, Limits, Mode};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

const CHILD: &str = "POSTHOLE_TEST_CHILD";

/// Serves until it is killed, if it runs for that.
#[test]
fn child() {
    serve(|| {
        let (front, dummy) = Dummy::start(Mode::Either, Limits::default());
        let addr = front.local_addr();
        ((front, dummy), addr)
    });
}

/// Serves what this starts until the process is killed, if it runs for that.
pub fn serve<T>(start: impl FnOnce() -> (T, SocketAddr)) {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let (_serving, addr) = start();
    println!("listening on {addr}");
    loop {
        std::thread::park();
    }
}

/// The process, which ends with this.
pub struct Server {
    pub process: std::process::Child,
    pub addr: SocketAddr,
}

impl Server {
    /// Runs this program's test [`child`] with so many descriptors.
    pub fn with_descriptors(limit: u32) -> Server {
        Server::running("front_child::child", limit)
    }

    /// Runs a test of this program that [serves](serve) with so many descriptors.
    pub fn running(test: &str, limit: u32) -> Server {
        let script = format!("ulimit -n {limit} && exec \"$0\" --exact {test} --nocapture");
        let mut process = Command::new("sh")
            .args(["-c", &script])
            .arg(std::env::current_exe().unwrap())
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let addr = BufReader::new(process.stdout.take().unwrap())
            .lines()
            .find_map(|line| {
                line.unwrap()
                    .split_once("listening on ")
                    .map(|(_, addr)| addr.parse().unwrap())
            })
            .expect("the child says where");
        Server { process, addr }
    }

    /// Resident memory in KiB.
    pub fn memory(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.and_then(|line| line.split_whitespace().nth(1))
            .expect("Linux says so")
            .parse()
            .unwrap()
    }

    /// Seconds of processor so far, in ticks of 10 ms.
    pub fn processor(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields = stat.rsplit(')').next().unwrap().split_whitespace();
        let ticks = fields.skip(11).take(2).map(|t| t.parse::<f64>().unwrap());
        ticks.sum::<f64>() / 100.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
