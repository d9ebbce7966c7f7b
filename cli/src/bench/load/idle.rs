//! What connections and sessions take while nothing happens: the growth of what is in memory, shared among them.

use std::thread;

use super::super::far::Ask;
use super::super::stream::block;
use super::super::system::{End, Site, Tunnel};
use super::super::usage::{peak, resident};
use super::{Extent, Failed, Sample, ask, at_once, ping};

/// How many are opened at a time.
const AT_ONCE: u64 = 8;
/// The most connections: they share a session, which has room for 2048 streams.
const MOST: usize = 2000;
/// Said there and back on each, so that none is only half there.
const SIZE: usize = 64;

/// KiB of both ends' processes for each connection.
pub(super) fn streams(tunnel: &Tunnel, extent: Extent) -> Result<Sample, Failed> {
    let count = extent.idle.min(MOST);
    let before = tunnel.ids().map(resident);
    let entry = tunnel.entry;
    let open = at_once(AT_ONCE, |first| {
        let share = (first..count as u64).step_by(AT_ONCE as usize);
        let open = |number: u64| {
            let sent = &block(extent.seed.wrapping_add(number), 0)[..SIZE];
            let connection = ask(entry, Ask::Echo, sent)?;
            ping::expect(&connection, sent)?;
            Ok(connection)
        };
        share.map(open).collect::<Result<Vec<_>, Failed>>()
    })?;
    thread::sleep(extent.rest);
    let after = tunnel.ids().map(resident);
    drop(open);
    let [client, server] = [0, 1].map(|i| each(before[i], after[i], count));
    Ok(Sample {
        figure: client.zip(server).map(|(client, server)| client + server),
        also: vec![("KiB client", client), ("KiB server", server)],
        ..Sample::default()
    })
}

/// KiB of the server's process for each session, connections and all; beside it, of the client's.
pub(super) fn sessions(site: &Site, ends: (End, End), extent: Extent) -> Result<Sample, Failed> {
    // One more, which is there before.
    let mut holding = site.holding(ends, extent.idle + 1)?;
    let ids = [holding.holder.id, holding.server.id];
    let before = ids.map(resident);
    holding.holder.tell("go on")?;
    holding.holder.says("opened ")?;
    thread::sleep(extent.rest);
    let after = ids.map(resident);
    let [client, server] = [0, 1].map(|i| each(before[i], after[i], extent.idle));
    Ok(Sample {
        figure: server,
        also: vec![("KiB client", client)],
        peak: peak(&ids),
        ..Sample::default()
    })
}

fn each(before: Option<u64>, after: Option<u64>, count: usize) -> Option<f64> {
    Some((after? as f64 - before? as f64) / 1024.0 / count as f64)
}
