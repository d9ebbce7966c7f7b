//! Harm of every kind, a little load beside it: 24 MiB each way at 8 MiB/s, through a relay, both logs on a full disk.

use crate::path::Cut;
use crate::trial::{Load, Run, Trial, intact, reset};
use crate::world::{Log, Way};
use posthole_tests::pattern::Pattern;
use rustix::process::{Pid, Signal, kill_process};
use std::io::Write;
use std::net::TcpStream;
use std::process::Child;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

const fn small(name: &'static str, run: Run) -> Trial {
    Trial {
        name,
        way: Way::Relay,
        log: Log::FullDisk,
        load: Load {
            bytes: 24 << 20,
            rate: 8 << 20,
        },
        run,
    }
}

pub(crate) const TRIALS: &[Trial] = &[
    small("nothing", |world, load| intact(world, load, |_| ())),
    small(
        "everything between them cut, five times a second",
        |world, load| {
            intact(world, load, |world| {
                for _ in 0..15 {
                    world.relay.cut(Cut::End);
                    thread::sleep(Duration::from_millis(200));
                }
            })
        },
    ),
    small(
        "each connection between them cut after some hundred kilobytes",
        |world, load| {
            intact(world, load, |world| {
                world.relay.most.store(400_000, Ordering::Relaxed);
                thread::sleep(Duration::from_secs(3));
                world.relay.most.store(u64::MAX, Ordering::Relaxed);
            })
        },
    ),
    small("the way between them gone for 5 s", |world, load| {
        intact(world, load, |world| {
            world.relay.down.store(true, Ordering::Relaxed);
            world.relay.cut(Cut::End);
            thread::sleep(Duration::from_secs(5));
            world.relay.down.store(false, Ordering::Relaxed);
        })
    }),
    small("silence between them for 5 s", |world, load| {
        intact(world, load, |world| {
            world.relay.silent.store(true, Ordering::Relaxed);
            thread::sleep(Duration::from_secs(5));
            world.relay.silent.store(false, Ordering::Relaxed);
        })
    }),
    small("the server stopped (SIGSTOP) for 5 s", |world, load| {
        intact(world, load, |world| {
            stop_for(&world.server, Duration::from_secs(5));
        })
    }),
    small("the client stopped (SIGSTOP) for 5 s", |world, load| {
        intact(world, load, |world| {
            stop_for(&world.client, Duration::from_secs(5));
        })
    }),
    small(
        "the server killed (SIGKILL) and started again",
        |world, load| {
            reset(world, load, |world| {
                world.server.kill().unwrap();
                world.server.wait().unwrap();
                world.server = world.serve();
            })
        },
    ),
    small(
        "the client killed (SIGKILL) and started again",
        |world, load| {
            reset(world, load, |world| {
                world.client.kill().unwrap();
                world.client.wait().unwrap();
                world.client = world.connect();
            })
        },
    ),
    small(
        "200 connections to the server that send one byte a second",
        |world, load| {
            intact(world, load, |world| {
                let slow: Vec<TcpStream> = (0..200)
                    .filter_map(|_| TcpStream::connect(world.http).ok())
                    .collect();
                for byte in b"POST /" {
                    for mut socket in &slow {
                        let _ = socket.write_all(&[*byte]);
                    }
                    thread::sleep(Duration::from_millis(500));
                }
            })
        },
    ),
    small(
        "200 connections to the server that say nothing",
        |world, load| {
            intact(world, load, |world| {
                let _silent: Vec<TcpStream> = (0..200)
                    .filter_map(|_| TcpStream::connect(world.http).ok())
                    .collect();
                thread::sleep(Duration::from_secs(2));
            })
        },
    ),
    small("rubbish sent to both", |world, load| {
        intact(world, load, |world| {
            let mut pattern = Pattern::new(5);
            let mut rubbish = vec![0; 65_536];
            for _ in 0..100 {
                for addr in [world.http, world.local] {
                    let Ok(mut socket) = TcpStream::connect(addr) else {
                        continue;
                    };
                    pattern.fill(&mut rubbish);
                    let _ = socket.write_all(&rubbish);
                }
            }
        })
    }),
    small(
        "the server without descriptors for a while",
        |world, load| {
            intact(world, load, |world| {
                // It has 400, and each of these takes one at least.
                let _all: Vec<TcpStream> = (0..600)
                    .filter_map(|_| TcpStream::connect(world.http).ok())
                    .collect();
                thread::sleep(Duration::from_secs(2));
            })
        },
    ),
];

fn stop_for(child: &Child, time: Duration) {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::STOP).unwrap();
    thread::sleep(time);
    kill_process(pid, Signal::CONT).unwrap();
}
