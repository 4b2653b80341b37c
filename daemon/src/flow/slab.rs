//! Slots for flows, linked in lists by how long they have been idle.
//!
//! In: flows and moves between lists. Out: the flow of a slot, the idlest flow of a list. Slots
//! are reused; a flow's id holds an ordinal that is not. All operations take constant time.

use super::progress::{Flow, FlowId};

/// "No slot" in a link.
const NIL: u32 = u32::MAX;

#[derive(Debug)]
struct Slot<T> {
    flow: Flow<T>,
    /// When the flow last had a packet, on the table's own clock.
    touched_nanos: i64,
    list: usize,
    prev: u32,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct List {
    head: u32,
    tail: u32,
}

/// Flows in `LISTS` lists, each in the order of the last touch.
#[derive(Debug)]
pub(super) struct Slab<T, const LISTS: usize> {
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    lists: [List; LISTS],
    len: usize,
}

impl<T, const LISTS: usize> Slab<T, LISTS> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            lists: [List {
                head: NIL,
                tail: NIL,
            }; LISTS],
            len: 0,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Slots there are, taken or free.
    pub(super) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(NIL)
    }

    /// Slot that the next [`Slab::insert`] takes.
    pub(super) fn next_slot(&self) -> u32 {
        let fresh = u32::try_from(self.slots.len()).unwrap_or(NIL);
        self.free.last().copied().unwrap_or(fresh)
    }

    /// Puts a flow, whose id names [`Slab::next_slot`], at the end of a list.
    pub(super) fn insert(&mut self, flow: Flow<T>, list: usize, now_nanos: i64) {
        let at = flow.id.slot;
        let slot = Slot {
            flow,
            touched_nanos: now_nanos,
            list,
            prev: NIL,
            next: NIL,
        };
        if self.free.pop().is_some() {
            if let Some(place) = self.slots.get_mut(at as usize) {
                *place = Some(slot);
            }
        } else {
            self.slots.push(Some(slot));
        }
        self.len += 1;
        self.append(at, list);
    }

    fn slot(&self, at: u32) -> Option<&Slot<T>> {
        self.slots.get(at as usize)?.as_ref()
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        self.slots.get_mut(at as usize)?.as_mut()
    }

    pub(super) fn at(&self, at: u32) -> Option<&Flow<T>> {
        self.slot(at).map(|slot| &slot.flow)
    }

    pub(super) fn at_mut(&mut self, at: u32) -> Option<&mut Flow<T>> {
        self.slot_mut(at).map(|slot| &mut slot.flow)
    }

    pub(super) fn get(&self, id: FlowId) -> Option<&Flow<T>> {
        self.at(id.slot).filter(|flow| flow.id == id)
    }

    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<T>> {
        self.at_mut(id.slot).filter(|flow| flow.id == id)
    }

    /// The flow had a packet: to the end of the list of its state.
    pub(super) fn touch(&mut self, at: u32, list: usize, now_nanos: i64) {
        self.unlink(at);
        if let Some(slot) = self.slot_mut(at) {
            slot.touched_nanos = now_nanos;
        }
        self.append(at, list);
    }

    /// The idlest flow of a list, and when it was touched.
    pub(super) fn idlest(&self, list: usize) -> Option<(u32, i64)> {
        let head = self.lists.get(list)?.head;
        self.slot(head).map(|slot| (head, slot.touched_nanos))
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<Flow<T>> {
        self.unlink(at);
        let slot = self.slots.get_mut(at as usize)?.take()?;
        self.free.push(at);
        self.len -= 1;
        Some(slot.flow)
    }

    fn append(&mut self, at: u32, list: usize) {
        let Some(ends) = self.lists.get_mut(list) else {
            return;
        };
        let before = std::mem::replace(&mut ends.tail, at);
        if before == NIL {
            ends.head = at;
        }
        if let Some(slot) = self.slot_mut(before) {
            slot.next = at;
        }
        if let Some(slot) = self.slot_mut(at) {
            (slot.prev, slot.next, slot.list) = (before, NIL, list);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some((prev, next, list)) = self.slot(at).map(|slot| (slot.prev, slot.next, slot.list))
        else {
            return;
        };
        if let Some(slot) = self.slot_mut(prev) {
            slot.next = next;
        }
        if let Some(slot) = self.slot_mut(next) {
            slot.prev = prev;
        }
        if let Some(ends) = self.lists.get_mut(list) {
            if ends.head == at {
                ends.head = next;
            }
            if ends.tail == at {
                ends.tail = prev;
            }
        }
    }
}
