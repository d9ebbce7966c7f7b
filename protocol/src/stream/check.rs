//! What must hold of the table of streams at any time, for tests.

use super::*;

impl Streams {
    /// Recomputes the sums and queues from the streams.
    pub(crate) fn check(&self) {
        let sum = |f: fn(&Entry) -> u64| self.table.iter().map(|(_, e)| f(e)).sum::<u64>();
        assert_eq!(self.charged, sum(|e| e.send.charged()), "charged");
        assert_eq!(self.received, sum(|e| e.recv.charged()), "received");
        assert_eq!(self.pooled, sum(|e| e.send.pooled()), "pooled");
        assert_eq!(
            self.urgent,
            self.table
                .iter()
                .filter(|(_, e)| e.say == Say::Urgent)
                .count(),
            "urgent"
        );
        if self.closed {
            return;
        }
        for (id, e) in self.table.iter() {
            let count = |list: &VecDeque<StreamId>| list.iter().filter(|i| **i == id).count();
            let lists = (
                count(&self.fresh),
                count(&self.bulk),
                count(&self.no_credit),
            );
            let expected = match e.queue {
                Queue::None => (0, 0, 0),
                Queue::Fresh => (1, 0, 0),
                Queue::Bulk => (0, 1, 0),
                Queue::NoCredit => (0, 0, 1),
            };
            assert_eq!(lists, expected, "{id} {e:?}");
            assert!(
                !e.send.is_waiting() || e.queue != Queue::None,
                "{id} waits in no queue"
            );
            assert_eq!(
                count(&self.says),
                usize::from(e.say != Say::Nothing),
                "says {id}"
            );
            assert_eq!(count(&self.news), usize::from(e.news), "news {id}");
            assert_eq!(
                count(&self.hellos),
                usize::from(e.hello && count(&self.hellos) > 0),
                "hello {id}"
            );
            assert_eq!(self.writers.contains(&id), e.send.blocked, "writers {id}");
            if e.queue == Queue::NoCredit {
                assert!(
                    !e.send.is_waiting() || e.send.queue.is_empty() || self.allowance(&e.send) == 0,
                    "{id} has credit and waits for it"
                );
            }
            let say = e.say_level(self.pool, self.received);
            if say == Say::Urgent && e.say == Say::Nothing {
                panic!("{id} has something urgent to say and is in no queue: {e:?}");
            }
        }
        for id in self.writers.iter() {
            assert!(self.table.get(*id).is_some(), "writer {id} is gone");
        }
    }
}
