//! Handles that cannot dangle: a number naming a slot and the generation of what is in it.

use std::sync::{Arc, PoisonError, RwLock};

use hostlane::{Code, Error, Result};

/// Objects handed out as numbers. A number is used once: after [`remove`](Table::remove) it is
/// `invalid_handle` for ever. Zero is never a handle. All methods may be called from any thread.
#[derive(Debug)]
pub struct Table<T> {
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

impl<T> Table<T> {
    /// An empty table; usable in a `static`.
    pub const fn new() -> Table<T> {
        Table { slots: RwLock::new(Slots { slots: Vec::new(), free: Vec::new() }) }
    }

    /// Stores `object` and names it.
    pub fn insert(&self, object: T) -> u64 {
        let mut table = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = table.free.pop().unwrap_or_else(|| {
            table.slots.push(Slot { generation: 0, object: None });
            (table.slots.len() - 1) as u32
        });
        let slot = &mut table.slots[index as usize];
        slot.generation += 1;
        slot.object = Some(Arc::new(object));
        name(index, slot.generation)
    }

    /// The object of a handle, kept alive by the `Arc` beside a concurrent `remove`.
    /// `invalid_handle` if there is none.
    pub fn get(&self, handle: u64) -> Result<Arc<T>> {
        let table = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let slot = table.slots.get(handle as u32 as usize).filter(|slot| slot.generation == (handle >> 32) as u32);
        slot.and_then(|slot| slot.object.clone())
            .ok_or_else(|| Error::new(Code::InvalidHandle, format!("{handle:#x} names no living object")))
    }

    /// Ends a handle; its object, if it was still there.
    pub fn remove(&self, handle: u64) -> Option<Arc<T>> {
        let mut table = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let index = handle as u32;
        let slot = table.slots.get_mut(index as usize).filter(|slot| slot.generation == (handle >> 32) as u32)?;
        let object = slot.object.take()?;
        // A slot whose generations are used up is retired: no number ever comes back.
        if slot.generation < u32::MAX {
            table.free.push(index);
        }
        Some(object)
    }

    /// Living objects.
    pub fn len(&self) -> usize {
        let table = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        table.slots.iter().filter(|slot| slot.object.is_some()).count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table::new()
    }
}

fn name(index: u32, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_good_once() {
        let table = Table::new();
        let first = table.insert("a");
        assert_ne!(first, 0);
        assert_eq!(*table.get(first).unwrap(), "a");
        let kept = table.get(first).unwrap();
        assert!(table.remove(first).is_some());
        assert!(table.remove(first).is_none());
        assert_eq!(*kept, "a");
        let second = table.insert("b");
        assert_ne!(first, second);
        assert_eq!(table.get(first).unwrap_err().code(), Code::InvalidHandle);
        assert_eq!(*table.get(second).unwrap(), "b");
        assert_eq!(table.len(), 1);
        for forged in [0, 1, u64::MAX, second + 1, second ^ (1 << 40)] {
            assert_eq!(table.get(forged).unwrap_err().code(), Code::InvalidHandle);
        }
    }
}
