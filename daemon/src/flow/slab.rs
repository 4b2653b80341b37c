//! Slots for flows, linked in lists by how long they have been idle.
//!
//! In: flows and moves between lists. Out: the flow of a slot, the idlest flow of a list. Slots
//! are reused; a flow's id holds an ordinal that is not. All operations take constant time.

use super::progress::{Flow, FlowId};

/// "No slot" in a link.
const NIL: u32 = u32::MAX;

/// Flows of a chunk. Flows lie in chunks, so that a table that grows moves none of them.
const CHUNK: usize = 256;

/// A slot's place in its list, apart from its flow: a packet touches its own flow only, and of the
/// flows around it in the list nothing but these.
#[derive(Debug, Clone, Copy)]
struct Link {
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
    chunks: Vec<Vec<Option<Flow<T>>>>,
    links: Vec<Link>,
    free: Vec<u32>,
    lists: [List; LISTS],
    len: usize,
}

impl<T, const LISTS: usize> Slab<T, LISTS> {
    pub(super) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            links: Vec::new(),
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
        u32::try_from(self.links.len()).unwrap_or(NIL)
    }

    /// Slot that the next [`Slab::insert`] takes.
    pub(super) fn next_slot(&self) -> u32 {
        let fresh = self.slots();
        self.free.last().copied().unwrap_or(fresh)
    }

    /// Puts a flow, whose id names [`Slab::next_slot`], at the end of a list.
    pub(super) fn insert(&mut self, flow: Flow<T>, list: usize, now_nanos: i64) {
        let at = flow.id.slot();
        let link = Link {
            touched_nanos: now_nanos,
            list,
            prev: NIL,
            next: NIL,
        };
        if self.free.pop().is_some() {
            if let (Some(place), Some(known)) = (
                place_mut(&mut self.chunks, at),
                self.links.get_mut(at as usize),
            ) {
                (*place, *known) = (Some(flow), link);
            }
        } else {
            self.links.push(link);
            match self.chunks.last_mut() {
                Some(chunk) if chunk.len() < CHUNK => chunk.push(Some(flow)),
                _ => {
                    let mut chunk = Vec::with_capacity(CHUNK);
                    chunk.push(Some(flow));
                    self.chunks.push(chunk);
                }
            }
        }
        self.len += 1;
        self.append(at, list);
    }

    #[inline]
    pub(super) fn at(&self, at: u32) -> Option<&Flow<T>> {
        let (chunk, place) = split(at);
        self.chunks.get(chunk)?.get(place)?.as_ref()
    }

    #[inline]
    pub(super) fn at_mut(&mut self, at: u32) -> Option<&mut Flow<T>> {
        place_mut(&mut self.chunks, at)?.as_mut()
    }

    #[inline]
    pub(super) fn get(&self, id: FlowId) -> Option<&Flow<T>> {
        self.at(id.slot()).filter(|flow| flow.id == id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow<T>> {
        self.at_mut(id.slot()).filter(|flow| flow.id == id)
    }

    /// The flow had a packet: to the end of the list of its state.
    pub(super) fn touch(&mut self, at: u32, list: usize, now_nanos: i64) {
        let is_last = self.lists.get(list).is_some_and(|ends| ends.tail == at);
        if !is_last {
            self.unlink(at);
        }
        if let Some(link) = self.links.get_mut(at as usize) {
            link.touched_nanos = now_nanos;
        }
        if !is_last {
            self.append(at, list);
        }
    }

    /// The idlest flow of a list, and when it was touched.
    pub(super) fn idlest(&self, list: usize) -> Option<(u32, i64)> {
        let head = self.lists.get(list)?.head;
        let link = self.links.get(head as usize)?;
        Some((head, link.touched_nanos))
    }

    /// Moves a flow to the end of `into`, once: it is large. False where there is none.
    pub(super) fn remove_into(&mut self, at: u32, into: &mut Vec<Flow<T>>) -> bool {
        let Some(place @ Some(_)) = place_mut(&mut self.chunks, at) else {
            return false;
        };
        into.extend(place.take());
        self.unlink(at);
        self.free.push(at);
        self.len -= 1;
        true
    }

    fn append(&mut self, at: u32, list: usize) {
        let Some(ends) = self.lists.get_mut(list) else {
            return;
        };
        let before = std::mem::replace(&mut ends.tail, at);
        if before == NIL {
            ends.head = at;
        }
        if let Some(link) = self.links.get_mut(before as usize) {
            link.next = at;
        }
        if let Some(link) = self.links.get_mut(at as usize) {
            (link.prev, link.next, link.list) = (before, NIL, list);
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Link {
            prev, next, list, ..
        }) = self.links.get(at as usize)
        else {
            return;
        };
        if let Some(link) = self.links.get_mut(prev as usize) {
            link.next = next;
        }
        if let Some(link) = self.links.get_mut(next as usize) {
            link.prev = prev;
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

/// Chunk and place in it of a slot.
const fn split(at: u32) -> (usize, usize) {
    (at as usize / CHUNK, at as usize % CHUNK)
}

fn place_mut<T>(chunks: &mut [Vec<Option<Flow<T>>>], at: u32) -> Option<&mut Option<Flow<T>>> {
    let (chunk, place) = split(at);
    chunks.get_mut(chunk)?.get_mut(place)
}
