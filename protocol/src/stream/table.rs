//! The streams that there are.

use super::entry::Entry;
use crate::id::StreamId;
use alloc::collections::BTreeMap;

/// By their numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Table(BTreeMap<StreamId, Entry>);

impl Table {
    /// A stream, if it is there. Asked again and again on a byte's way: one copy of the search stays in the processor's
    /// cache, where one at each place would not.
    #[inline(never)]
    pub(super) fn get(&self, id: StreamId) -> Option<&Entry> {
        self.0.get(&id)
    }

    /// The same, to be changed.
    #[inline(never)]
    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Entry> {
        self.0.get_mut(&id)
    }

    pub(super) fn insert(&mut self, id: StreamId, entry: Entry) {
        self.0.insert(id, entry);
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Entry> {
        self.0.remove(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &Entry)> {
        self.0.iter().map(|(id, entry)| (*id, entry))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (StreamId, &mut Entry)> {
        self.0.iter_mut().map(|(id, entry)| (*id, entry))
    }
}
