//! Handles that cannot dangle: a number naming a kind, a slot and the generation of what is in it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError};

use hostlane::{Code, Error, PerProcess, Result};

/// Objects handed out as numbers. A number is used once: after [`remove`](Table::remove) it is
/// `closed` for ever; one that was never issued, or by another table, is `invalid_handle`. Zero is never a handle. All
/// methods may be called from any thread.
///
/// A forked child issues numbers of its own: those of its parent are `forked`, and the lock of the parent's objects, which
/// another thread may have held at the fork, is never waited for.
#[derive(Debug)]
pub struct Table<T: 'static> {
    /// The generation of a slot that was never used: the kind in the highest bits, and no number.
    unused: u32,
    /// Slots ever made, those of parents included.
    made: AtomicU32,
    own: PerProcess<Own<T>>,
}

/// The objects of one process.
#[derive(Debug)]
struct Own<T: 'static> {
    /// Its first slot: those before are its parent's.
    base: u32,
    parent: Option<&'static Own<T>>,
    slots: RwLock<Slots<T>>,
}

#[derive(Debug)]
struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    object: Option<Arc<T>>,
}

/// Generations of one slot, which count in the bits below the kind.
const GENERATIONS: u32 = 1 << 24;

impl<T: Send + Sync> Table<T> {
    /// An empty table; usable in a `static`. Its numbers differ from those of tables of another `kind`.
    pub const fn new(kind: u8) -> Table<T> {
        let unused = kind as u32 * GENERATIONS;
        Table { unused, made: AtomicU32::new(0), own: PerProcess::new() }
    }

    fn own(&self) -> &'static Own<T> {
        self.own.get_or_make(|parent| Own {
            base: self.made.load(Ordering::Relaxed),
            parent,
            slots: RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }),
        })
    }

    /// Stores `object` and names it.
    pub fn insert(&self, object: T) -> u64 {
        let own = self.own();
        let mut table = own.write();
        let index = table.free.pop().unwrap_or_else(|| {
            // Before the slot is there: a child forked in between takes none of it for its own.
            self.made.fetch_add(1, Ordering::Relaxed);
            table.slots.push(Slot { generation: self.unused, object: None });
            (table.slots.len() - 1) as u32
        });
        let slot = &mut table.slots[index as usize];
        slot.generation += 1;
        slot.object = Some(Arc::new(object));
        name(own.base + index, slot.generation)
    }

    /// The object of a handle, kept alive by the `Arc` beside a concurrent `remove`.
    /// `closed`, `invalid_handle`, `forked`.
    pub fn get(&self, handle: u64) -> Result<Arc<T>> {
        let (index, generation) = parts(handle);
        let own = self.own();
        let Some(index) = index.checked_sub(own.base) else { return Err(self.inherited(handle)) };
        let table = own.read();
        let slot = table.slots.get(index as usize);
        let object = slot.filter(|slot| slot.generation == generation).and_then(|slot| slot.object.clone());
        object.ok_or_else(|| self.gone(handle, slot))
    }

    /// Ends a handle and gives its object back, its parent's to a forked child. `closed`, `invalid_handle`; `forked` where
    /// the parent was at its objects at the fork.
    pub fn remove(&self, handle: u64) -> Result<Arc<T>> {
        let (index, generation) = parts(handle);
        let mut own = self.own();
        let mut table = if index >= own.base {
            own.write()
        } else {
            while index < own.base {
                own = own.parent.ok_or_else(|| self.inherited(handle))?;
            }
            match own.slots.try_write() {
                Ok(table) => table,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return Err(self.inherited(handle)),
            }
        };
        let index = index - own.base;
        let slot = table.slots.get_mut(index as usize).filter(|slot| slot.generation == generation);
        let Some(object) = slot.and_then(|slot| slot.object.take()) else {
            return Err(self.gone(handle, table.slots.get(index as usize)));
        };
        // A slot whose generations are used up is retired: no number ever comes back.
        if generation - self.unused < GENERATIONS - 1 {
            table.free.push(index);
        }
        Ok(object)
    }

    /// Living objects of this process.
    pub fn len(&self) -> usize {
        self.own().read().slots.iter().filter(|slot| slot.object.is_some()).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Why a handle names nothing: it did once, or never.
    fn gone(&self, handle: u64, slot: Option<&Slot<T>>) -> Error {
        let (_, generation) = parts(handle);
        if slot.is_some_and(|slot| (self.unused + 1..=slot.generation).contains(&generation)) {
            Error::new(Code::Closed, "the handle was closed")
        } else {
            never_issued(handle)
        }
    }

    /// Why a handle with a slot of a parent names nothing here. Which of them were issued, only the parent knows.
    fn inherited(&self, handle: u64) -> Error {
        let (_, generation) = parts(handle);
        if generation.checked_sub(self.unused).is_some_and(|used| (1..GENERATIONS).contains(&used)) {
            Error::new(Code::Forked, "the handle belongs to the parent process; open another in the child")
        } else {
            never_issued(handle)
        }
    }
}

impl<T> Own<T> {
    fn read(&self) -> RwLockReadGuard<'_, Slots<T>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Slots<T>> {
        self.slots.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn never_issued(handle: u64) -> Error {
    Error::new(Code::InvalidHandle, format!("{handle:#x} was never issued"))
}

fn parts(handle: u64) -> (u32, u32) {
    (handle as u32, (handle >> 32) as u32)
}

fn name(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_once() {
        let table = Table::new(3);
        let first = table.insert("a");
        assert_ne!(first, 0);
        assert_eq!(*table.get(first).unwrap(), "a");
        let kept = table.get(first).unwrap();
        assert!(table.remove(first).is_ok());
        assert_eq!(table.remove(first).unwrap_err().code(), Code::Closed);
        assert_eq!(*kept, "a");
        let second = table.insert("b");
        assert_ne!(first, second);
        assert_eq!(table.get(first).unwrap_err().code(), Code::Closed);
        assert_eq!(*table.get(second).unwrap(), "b");
        assert_eq!(table.len(), 1);
        for forged in [0, 1, u64::MAX, second + 1, second ^ (1 << 40)] {
            assert_eq!(table.get(forged).unwrap_err().code(), Code::InvalidHandle);
        }
    }

    #[test]
    fn a_number_is_of_one_kind() {
        let (peers, contexts) = (Table::new(1), Table::new(2));
        let (peer, context) = (peers.insert("a peer"), contexts.insert("a context"));
        assert_eq!(peers.remove(context).unwrap_err().code(), Code::InvalidHandle);
        peers.remove(peer).unwrap();
        peers.insert("another peer");
        for number in [peer, context, 0] {
            let of_the_other = if number == context { &peers } else { &contexts };
            assert_eq!(of_the_other.get(number).unwrap_err().code(), Code::InvalidHandle);
        }
    }

    #[test]
    fn a_slot_whose_generations_are_used_up_is_retired() {
        let table = Table::new(u8::MAX);
        let first = table.insert("a");
        let (index, last) = (first as u32, u32::MAX);
        table.own().write().slots[0].generation = last;
        let number = name(index, last);
        table.remove(number).unwrap();
        assert_eq!(table.get(number).unwrap_err().code(), Code::Closed);
        let next = table.insert("b");
        assert_eq!((next as u32, *table.get(next).unwrap()), (1, "b"));
    }
}
