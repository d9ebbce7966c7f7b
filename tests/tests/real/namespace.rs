//! A network of its own for a client, with one wire out.

use super::{is_root, skip};
use std::net::Ipv4Addr;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

/// A network namespace whose only neighbour is this machine, at [`outer`](Namespace::outer).
pub struct Namespace {
    name: String,
    outer: Ipv4Addr,
    inner: Ipv4Addr,
}

impl Namespace {
    /// `None`, with the reason said: this can't be done here.
    pub fn new() -> Option<Namespace> {
        if !is_root() {
            skip("only root can make a network namespace");
            return None;
        }
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ph{}x{count}", id());
        // Eight addresses of 10.213.0.0/16 for each.
        let number = id().wrapping_mul(8).wrapping_add(count);
        let [high, low] = [number >> 5, number << 3].map(|n| n.to_le_bytes()[0]);
        let [outer, inner] = [1, 2].map(|n| Ipv4Addr::new(10, 213, high, (low & 0xf8) | n));
        if let Err(why) = ip(&format!("netns add {name}")) {
            skip(&format!("no network namespace: {why}"));
            return None;
        }
        let namespace = Namespace { name, outer, inner };
        let name = &namespace.name;
        for line in [
            &format!("link add {name} type veth peer name out netns {name}"),
            &format!("addr add {outer}/29 dev {name}"),
            &format!("link set {name} up"),
            &format!("-n {name} addr add {inner}/29 dev out"),
            &format!("-n {name} link set out up"),
        ] {
            if let Err(why) = ip(line) {
                skip(&format!("no wire into a network namespace: {why}"));
                return None;
            }
        }
        Some(namespace)
    }

    /// This machine's address, as seen from inside.
    pub fn outer(&self) -> Ipv4Addr {
        self.outer
    }

    /// The inside's address, as seen from this machine.
    pub fn inner(&self) -> Ipv4Addr {
        self.inner
    }

    /// Gives the inside another address: what spoke from the old one is not heard of again.
    pub fn change_address(&self) {
        let (name, old) = (&self.name, self.inner);
        let new = Ipv4Addr::from(u32::from(old) + 1);
        ip(&format!("-n {name} addr del {old}/29 dev out")).unwrap();
        ip(&format!("-n {name} addr add {new}/29 dev out")).unwrap();
    }

    /// A command that will run inside.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The system takes its time to end what was inside, the other end of the wire among it.
        let _ = ip(&format!("link del {}", self.name));
        let _ = ip(&format!("netns del {}", self.name));
    }
}

fn ip(line: &str) -> Result<(), String> {
    let output = Command::new("ip")
        .args(line.split_whitespace())
        .output()
        .map_err(|e| format!("ip: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {line}: {}", said.trim()))
}
