//! A carrier without sockets: a request goes to the server's handler in this process, late, twice, cut or not at all.

use super::{below, sleep};
use crate::carrier::{How, Trouble};
use crate::front::{Outcome, Service};
use crate::handler::Handler;
use crate::spawn::Spawner;
use bytes::Bytes;
use posthole_protocol::Failure;
use posthole_protocol::wire::Chain;
use smol::future::FutureExt;
use smol::stream::StreamExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How long one way takes, at least and at most, in microseconds.
const WAY: (u64, u64) = (500, 40_000);

/// The way to one server.
pub(crate) struct Net {
    handler: Handler,
    /// Where copies travel by themselves.
    spawner: Spawner,
    /// How many exchanges in a hundred are harmed.
    percent: u64,
    /// How many are under way.
    carried: AtomicUsize,
    is_closed: AtomicBool,
    is_slow: AtomicBool,
}

/// An exchange that is under way.
struct Carried<'a>(&'a AtomicUsize);

impl Drop for Carried<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What becomes of an exchange.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unharmed,
    NoConnection,
    RequestLost,
    AnswerLost,
    AnswerCut,
    /// Cut so that it looks whole.
    AnswerShort,
    AnswerCorrupt,
    RequestCorrupt,
    Refused,
    Twice,
}

const FATES: [Fate; 9] = [
    Fate::NoConnection,
    Fate::RequestLost,
    Fate::AnswerLost,
    Fate::AnswerCut,
    Fate::AnswerShort,
    Fate::AnswerCorrupt,
    Fate::RequestCorrupt,
    Fate::Refused,
    Fate::Twice,
];

impl Net {
    pub(crate) fn new(handler: &Handler, spawner: &Spawner, percent: u64) -> Net {
        Net {
            handler: handler.clone(),
            spawner: spawner.clone(),
            percent,
            carried: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
        }
    }

    /// How many exchanges are under way.
    pub(crate) fn carried(&self) -> usize {
        self.carried.load(Ordering::Relaxed)
    }

    /// From now on there is no way to the server any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// From now on requests take a second for 10 kB, and never rest for long.
    pub(crate) fn slow_down(&self) {
        self.is_slow.store(true, Ordering::Relaxed);
    }

    fn draw(&self) -> Fate {
        let fate = usize::try_from(below(FATES.len() as u64)).unwrap_or(0);
        if below(100) < self.percent {
            FATES[fate]
        } else {
            Fate::Unharmed
        }
    }

    /// As a lane carries it.
    pub(crate) async fn carry(
        &self,
        body: &Chain,
        patience: Duration,
        progress: &mut (dyn FnMut() + Send),
        how: How<'_>,
    ) -> Result<Bytes, Trouble> {
        self.carried.fetch_add(1, Ordering::Relaxed);
        let _carried = Carried(&self.carried);
        let fate = self.draw();
        if fate == Fate::NoConnection || self.is_closed.load(Ordering::Relaxed) {
            sleep(Duration::from_millis(1)).await;
            return Err(trouble(Failure::Connect, false));
        }
        way().await;
        progress();
        let mut body = body.clone().into_bytes();
        if self.is_slow.load(Ordering::Relaxed) {
            for _ in 0..body.len() / 1000 {
                sleep(Duration::from_millis(100)).await;
                progress();
            }
        }
        if fate == Fate::RequestLost {
            sleep(patience).await;
            return Err(trouble(Failure::TimedOut, true));
        }
        if fate == Fate::Refused {
            way().await;
            return Err(trouble(Failure::Middlebox { status: 502 }, true));
        }
        if fate == Fate::RequestCorrupt {
            body = corrupt(body);
        }
        if fate == Fate::Twice {
            self.again(body.clone());
        }
        // Dropped where it waits: whoever asked has gone.
        let answered = async { Ok(self.handler.begin(body).await) };
        let late = async {
            sleep(patience).await;
            Err(trouble(Failure::TimedOut, true))
        };
        let outcome = answered.or(late).await?;
        way().await;
        progress();
        match outcome {
            Outcome::Abandoned => Err(trouble(Failure::Cut, true)),
            Outcome::Reply(reply) if reply.status == 200 => {
                harmed(fate, patience, reply.body.into_bytes()).await
            }
            Outcome::Reply(reply) => Err(trouble(
                Failure::Middlebox {
                    status: reply.status,
                },
                true,
            )),
            Outcome::Streamed { mut pieces, .. } => {
                let Some(put) = how.pieces else {
                    return Err(trouble(Failure::Cut, true));
                };
                // Which of its pieces the harm is done to.
                let mut left = 1 + below(8);
                while let Some(piece) = pieces.next().await {
                    let piece = piece.map_err(|_| trouble(Failure::Cut, true))?;
                    way().await;
                    left = left.saturating_sub(1);
                    if left == 0 && fate != Fate::Unharmed {
                        return harmed(fate, patience, piece.into_bytes()).await;
                    }
                    put(piece.into_bytes());
                }
                Ok(Bytes::new())
            }
        }
    }

    /// A copy goes its own way, later.
    fn again(&self, body: Bytes) {
        let handler = self.handler.clone();
        self.spawner.spawn(async move {
            sleep(Duration::from_micros(below(500_000))).await;
            let copied = async {
                let _ = handler.begin(body).await;
            };
            copied.or(sleep(Duration::from_secs(60))).await;
        });
    }
}

async fn harmed(fate: Fate, patience: Duration, body: Bytes) -> Result<Bytes, Trouble> {
    match fate {
        Fate::AnswerLost => {
            sleep(patience).await;
            Err(trouble(Failure::TimedOut, true))
        }
        Fate::AnswerCut => Err(trouble(Failure::Cut, true)),
        Fate::AnswerShort => {
            let half = usize::try_from(below(body.len() as u64)).unwrap_or(0);
            Ok(body.slice(..half))
        }
        Fate::AnswerCorrupt => Ok(corrupt(body)),
        Fate::Unharmed
        | Fate::NoConnection
        | Fate::RequestLost
        | Fate::RequestCorrupt
        | Fate::Refused
        | Fate::Twice => Ok(body),
    }
}

async fn way() {
    let (least, most) = WAY;
    sleep(Duration::from_micros(least + below(most - least))).await;
}

fn corrupt(body: Bytes) -> Bytes {
    let mut body = body.to_vec();
    let bits = body.len() as u64 * 8;
    if bits > 0 {
        let bit = below(bits);
        body[usize::try_from(bit / 8).unwrap_or(0)] ^= 1 << (bit % 8);
    }
    body.into()
}

fn trouble(failure: Failure, reached: bool) -> Trouble {
    Trouble {
        failure,
        reached,
        says: format!("{failure:?}, as the seed says"),
    }
}
