//! A wire of limited rate that all bodies under way share evenly, as TCP connections do.

/// One direction of the path. `T` is what comes out at its other end.
#[derive(Debug)]
pub struct Link<T> {
    /// Bytes per second; `None`: no limit.
    pub rate: Option<u64>,
    jobs: Vec<Job<T>>,
    at: u64,
}

#[derive(Debug)]
struct Job<T> {
    call: u64,
    left: f64,
    item: T,
}

/// How often progress is told while bytes move.
const SLICE: u64 = 50_000;

impl<T> Link<T> {
    /// A link without limit.
    pub fn new() -> Link<T> {
        Link {
            rate: None,
            jobs: Vec::new(),
            at: 0,
        }
    }

    /// Puts a body of `size` bytes on the wire. Gives it back if there is no limit: it is through.
    pub fn push(&mut self, now: u64, call: u64, size: usize, item: T) -> Option<T> {
        if self.rate.is_none() && self.jobs.is_empty() {
            return Some(item);
        }
        if self.jobs.is_empty() {
            self.at = now;
        }
        self.jobs.push(Job {
            call,
            left: size as f64,
            item,
        });
        None
    }

    /// When something comes out, or progress is to be told.
    pub fn next(&self) -> Option<u64> {
        let least = self
            .jobs
            .iter()
            .map(|job| job.left)
            .min_by(f64::total_cmp)?;
        let wait = (least * self.jobs.len() as f64 / self.per_micro()).ceil() as u64;
        Some(self.at + wait.clamp(1, SLICE))
    }

    /// Moves bytes until `now`; gives what is through, and the calls whose bytes moved.
    pub fn advance(&mut self, now: u64) -> (Vec<(u64, T)>, Vec<u64>) {
        let mut through = Vec::new();
        let mut moved = Vec::new();
        while let Some(next) = self.next().filter(|&next| next <= now) {
            let share = (next - self.at) as f64 * self.per_micro() / self.jobs.len() as f64;
            self.at = next;
            moved.extend(self.jobs.iter().map(|job| job.call));
            for mut job in std::mem::take(&mut self.jobs) {
                job.left -= share;
                if job.left < 0.5 {
                    through.push((job.call, job.item));
                } else {
                    self.jobs.push(job);
                }
            }
        }
        (through, moved)
    }

    /// Takes this call's bodies off the wire.
    pub fn drop_call(&mut self, call: u64) -> Vec<T> {
        let (gone, left): (Vec<_>, Vec<_>) = std::mem::take(&mut self.jobs)
            .into_iter()
            .partition(|job| job.call == call);
        self.jobs = left;
        gone.into_iter().map(|job| job.item).collect()
    }

    fn per_micro(&self) -> f64 {
        self.rate.map_or(1e9, |rate| rate.max(1) as f64 / 1e6)
    }
}

impl<T> Default for Link<T> {
    fn default() -> Self {
        Link::new()
    }
}
