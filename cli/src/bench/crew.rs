//! The processes that a run starts: each is this program again, and is ended by its id when it is no longer needed,
//! when the run is interrupted, and in any other case by itself, as its standard input ends with this process.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// How long a process may take until it says what is waited for: also opening ten thousand sessions.
const READY: Duration = Duration::from_secs(60);

/// Starts processes and knows those that run; clones share them.
#[derive(Clone, Debug)]
pub(super) struct Crew {
    program: PathBuf,
    running: Arc<Mutex<HashMap<u32, Child>>>,
}

impl Crew {
    /// Of this program's processes. A signal ends them all, and then this process, as a shell has it.
    pub(super) fn of_this_program() -> Result<Crew, String> {
        let program = std::env::current_exe().map_err(|e| format!("who am I? {e}"))?;
        let crew = Crew {
            program,
            running: Arc::default(),
        };
        let ended = crew.clone();
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])
            .map_err(|e| format!("can't wait for signals: {e}"))?;
        let watch = move || {
            if let Some(signal) = signals.forever().next() {
                // Held to the end of the process: nothing is started any more.
                let mut running = ended.lock();
                running.values_mut().for_each(end);
                std::process::exit(128 + signal);
            }
        };
        thread::Builder::new()
            .name("signals".into())
            .spawn(watch)
            .map_err(|e| format!("no thread for signals: {e}"))?;
        Ok(crew)
    }

    /// Starts one with these arguments, and this beside what is in the environment.
    pub(super) fn start(
        &self,
        arguments: &[&str],
        environment: Vec<(&str, String)>,
    ) -> Result<Member, String> {
        let title = arguments.join(" ");
        let mut running = self.lock();
        let mut child = Command::new(&self.program)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("can't start `{title}`: {e}"))?;
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let id = child.id();
        running.insert(id, child);
        drop(running);
        let (tell, lines) = channel();
        // Read to the end: one that nobody hears must not be held up by what it says.
        thread::spawn(move || {
            for line in BufReader::new(stderr.expect("piped"))
                .lines()
                .map_while(Result::ok)
            {
                let _ = tell.send(line);
            }
        });
        Ok(Member {
            id,
            title,
            stdin: stdin.expect("piped"),
            lines,
            crew: self.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Child>> {
        self.running
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// It is this process' child and not yet waited for, so its id is nobody else's.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// One running process; dropping this ends it.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: u32,
    title: String,
    stdin: ChildStdin,
    lines: Receiver<String>,
    crew: Crew,
}

impl Member {
    /// Waits until it says something after these words on standard error; gives the next word.
    pub(super) fn says(&self, words: &str) -> Result<String, String> {
        let until = Instant::now() + READY;
        let mut said = Vec::new();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let why = match self.lines.recv_timeout(left) {
                Ok(line) => {
                    if let Some((_, rest)) = line.split_once(words) {
                        return Ok(rest.split_whitespace().next().unwrap_or("").to_owned());
                    }
                    said.push(line);
                    continue;
                }
                Err(RecvTimeoutError::Timeout) => "is not ready in time",
                Err(RecvTimeoutError::Disconnected) => "has ended",
            };
            return Err(format!("`{}` {why}: {}", self.title, said.join("; ")));
        }
    }

    /// Writes a line to its standard input.
    pub(super) fn tell(&mut self, line: &str) -> Result<(), String> {
        writeln!(self.stdin, "{line}").map_err(|e| format!("`{}` does not listen: {e}", self.title))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let child = self.crew.lock().remove(&self.id);
        if let Some(mut child) = child {
            end(&mut child);
        }
    }
}
