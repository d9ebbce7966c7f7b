//! One thing that is done, and how it is judged.

use crate::load::{Pinger, transfer};
use crate::world::{Log, On, Way, World};
use std::thread;
use std::time::{Duration, Instant};

/// What the application moves each way meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) bytes: u64,
    /// Bytes a second, at most.
    pub(crate) rate: u64,
}

/// A row of the table.
pub(crate) struct Trial {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) log: Log,
    pub(crate) load: Load,
    pub(crate) run: Run,
}

/// What is said in the table.
///
/// # Errors
/// What is not as it should be.
pub(crate) type Run = fn(&mut World, Load) -> Result<String, String>;

impl Trial {
    /// Runs it on this pair, and says what the table says.
    pub(crate) fn run(&self, on: On) -> Result<String, String> {
        let mut world = World::new(on, self.way, self.log)?;
        let came = (self.run)(&mut world, self.load).and_then(|came| {
            // And then everything is as before.
            let works = transfer(world.local, 1 << 20, u64::MAX);
            works.map_err(|why| format!("afterwards: {why}"))?;
            Ok(came)
        });
        let came = came.map_err(|why| format!("{why}; {}", world.last_words()))?;
        if self.log == Log::FullDisk {
            return Ok(came);
        }
        let ([client, server], [said, heard]) = (world.memory(), world.lines());
        Ok(format!(
            "{came}; {client} + {server} MiB; {said} + {heard} lines"
        ))
    }
}

/// The connections that are open go on, and every byte is right.
pub(crate) fn intact(world: &mut World, load: Load, act: fn(&mut World)) -> Result<String, String> {
    intact_within(world, load, None, act)
}

/// The same, and somebody who types beside it never waits longer.
pub(crate) fn intact_within(
    world: &mut World,
    load: Load,
    longest: Option<Duration>,
    act: fn(&mut World),
) -> Result<String, String> {
    let (began, local) = (Instant::now(), world.local);
    let types = Pinger::start(local);
    let moves = thread::spawn(move || transfer(local, load.bytes, load.rate));
    thread::sleep(Duration::from_millis(700));
    act(world);
    moves.join().map_err(|_| "a panic".to_owned())??;
    let took = began.elapsed().as_secs_f32();
    let waited = types.end()?;
    let said = format!(
        "intact, {took:.1} s, longest wait {:.2} s",
        waited.as_secs_f32()
    );
    match longest.filter(|&longest| waited > longest) {
        Some(longest) => Err(format!("{said}, which is over {longest:?}")),
        None => Ok(said),
    }
}

/// They are reset, never ended as if all were well, and new ones work.
pub(crate) fn reset(world: &mut World, load: Load, act: fn(&mut World)) -> Result<String, String> {
    let local = world.local;
    let moves = thread::spawn(move || transfer(local, load.bytes, load.rate));
    thread::sleep(Duration::from_millis(700));
    act(world);
    match moves.join().map_err(|_| "a panic".to_owned())? {
        Ok(()) => Err("it ended well, which it can't have".to_owned()),
        Err(why) if why.starts_with("reset") => Ok("reset; new ones work".to_owned()),
        Err(why) => Err(why),
    }
}
