//! Small things there and back: how long they take.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::super::far::{Ask, STALL};
use super::super::stats::quantile;
use super::super::stream::block;
use super::super::system::Tunnel;
use super::{Extent, Failed, Meter, Sample, ask, at_once, bulk, joined};

/// Bytes of one: a keystroke with what ssh puts around it.
const SIZE: usize = 64;
/// Connections that are opened and closed at a time.
const AT_ONCE: u64 = 4;

/// One connection, from its opening to its end.
pub(super) fn once(entry: SocketAddr, seed: u64) -> Result<(), Failed> {
    let sent = &block(seed, 0)[..SIZE];
    let connection = ask(entry, Ask::Echo, sent)?;
    expect(&connection, sent)?;
    connection.shutdown(Shutdown::Write)?;
    match (&connection).read(&mut [0])? {
        0 => Ok(()),
        _ => Err(Failed("more came back than was sent".into())),
    }
}

/// On an otherwise quiet tunnel; processor time for each.
pub(super) fn alone(tunnel: &Tunnel, extent: Extent) -> Result<Sample, Failed> {
    let connection = ask(tunnel.entry, Ask::Echo, &[])?;
    let meter = Meter::start(tunnel);
    let times = times(&connection, extent)?;
    Ok(Sample {
        processor: meter.each(times.len() as f64 / 1e6),
        ..of(&times)
    })
}

/// While another connection carries what it can; processor time for each GB of that.
pub(super) fn beside_bulk(tunnel: &Tunnel, extent: Extent) -> Result<Sample, Failed> {
    let connection = ask(tunnel.entry, Ask::Echo, &[])?;
    let meter = Meter::start(tunnel);
    let entry = tunnel.entry;
    let (tell, begun) = mpsc::channel();
    let longer = Extent {
        // It begins before the first and ends after the last.
        time: extent.time + Duration::from_millis(100),
        seed: extent.seed.wrapping_add(1),
        ..extent
    };
    let (times, bytes, took) = thread::scope(|scope| {
        let carrying = scope.spawn(move || {
            let began = Instant::now();
            let bytes = bulk::down(entry, longer, move || {
                let _ = tell.send(());
            });
            bytes.map(|bytes| (bytes, began.elapsed()))
        });
        let begins = begun.recv_timeout(STALL);
        let times = times(&connection, extent);
        drop(begun);
        let (bytes, took) = joined(carrying.join())?;
        begins.map_err(|_| Failed("no bytes came beside which to ping".into()))?;
        Ok::<_, Failed>((times?, bytes as f64, took))
    })?;
    let mut sample = of(&times);
    let rate = bytes / 1e6 / took.as_secs_f64();
    sample.also.push(("MB/s beside", Some(rate)));
    sample.processor = meter.each(bytes / 1e9);
    Ok(sample)
}

/// Connections each second, opened, used once and closed, a few at a time; processor time for each.
pub(super) fn churn(tunnel: &Tunnel, extent: Extent) -> Result<Sample, Failed> {
    let meter = Meter::start(tunnel);
    let began = Instant::now();
    let until = began + extent.time;
    let entry = tunnel.entry;
    let times = at_once(AT_ONCE, |number| {
        let mut times = Vec::new();
        let mut seed = extent.seed.wrapping_add(number);
        while Instant::now() < until {
            let began = Instant::now();
            once(entry, seed)?;
            times.push(began.elapsed().as_secs_f64() * 1e6);
            seed = seed.wrapping_add(AT_ONCE);
        }
        Ok(times)
    })?;
    let times = times.concat();
    let count = times.len() as f64;
    Ok(Sample {
        figure: Some(count / began.elapsed().as_secs_f64()),
        processor: meter.each(count / 1e6),
        also: vec![
            ("µs p50", quantile(&times, 0.5)),
            ("µs p99", quantile(&times, 0.99)),
        ],
        ..Sample::default()
    })
}

/// One after the other for a time; at least one. In µs.
fn times(mut connection: &TcpStream, extent: Extent) -> Result<Vec<f64>, Failed> {
    let until = Instant::now() + extent.time;
    let mut times = Vec::new();
    for k in 0.. {
        let sent = &block(extent.seed, k)[..SIZE];
        let began = Instant::now();
        connection.write_all(sent)?;
        expect(connection, sent)?;
        let now = Instant::now();
        times.push((now - began).as_secs_f64() * 1e6);
        if now >= until {
            break;
        }
    }
    Ok(times)
}

pub(super) fn expect(mut connection: &TcpStream, sent: &[u8]) -> io::Result<()> {
    let mut got = [0; SIZE];
    let got = &mut got[..sent.len()];
    connection.read_exact(got)?;
    if got == sent {
        Ok(())
    } else {
        Err(io::Error::other("other bytes came back than were sent"))
    }
}

fn of(times: &[f64]) -> Sample {
    Sample {
        figure: quantile(times, 0.5),
        also: vec![("µs p99", quantile(times, 0.99))],
        ..Sample::default()
    }
}
