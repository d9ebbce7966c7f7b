//! What the application should know of its streams. Derived from their state when it is polled (C1, C6).

use super::Streams;
use crate::event::Event;
use crate::id::StreamId;

impl Streams {
    pub(super) fn wake_writers(&mut self) {
        let ready = |id: &&StreamId| {
            let entry = self.table.get(**id);
            entry.is_some_and(|e| e.send.is_worth_waking(self.room(**id)))
        };
        for id in self
            .writers
            .iter()
            .filter(ready)
            .copied()
            .collect::<alloc::vec::Vec<_>>()
        {
            if let Some(entry) = self.table.get_mut(id).filter(|e| !e.news) {
                entry.news = true;
                self.news.push_back(id);
            }
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        if core::mem::take(&mut self.incoming_news) {
            return Some(Event::Incoming);
        }
        if self.open_blocked && self.opened < self.may_open {
            self.open_blocked = false;
            return Some(Event::CanOpen);
        }
        while let Some(id) = self.news.front().copied() {
            let room = self.room(id);
            let (closing, closed) = (self.closing, self.closed);
            let event = self
                .table
                .get_mut(id)
                .and_then(|e| e.next_news(id, room, closing, closed));
            if event.is_some() {
                if matches!(event, Some(Event::Finished(_) | Event::Writable(_))) {
                    self.writers.remove(&id);
                }
                return event;
            }
            self.news.pop_front();
            if let Some(entry) = self.table.get_mut(id) {
                entry.news = false;
            }
            self.place(id);
        }
        None
    }
}
