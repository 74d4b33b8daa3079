//! What JavaScript names by number: connections, listeners, calls to answer, streams.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hostlane_bridge::{Code, Error, Result};

use crate::exchange::double;
use crate::ids::IdMap;

/// Objects by number. A number is a double in JavaScript, so it counts up: it is never used again and stays below 2^53. (The
/// handles of the bridge carry a generation in their upper half, which a double would round away.)
pub(crate) struct Objects<T> {
    last: Cell<u64>,
    all: RefCell<IdMap<Rc<T>>>,
    /// What a number that names nothing any more gives.
    gone: (Code, &'static str),
}

impl<T> Objects<T> {
    pub(crate) fn new(gone: Code, text: &'static str) -> Objects<T> {
        Objects { last: Cell::new(0), all: RefCell::default(), gone: (gone, text) }
    }

    pub(crate) fn insert(&self, object: T) -> f64 {
        let id = self.last.get() + 1;
        self.last.set(id);
        self.all.borrow_mut().insert(id, Rc::new(object));
        double(id)
    }

    pub(crate) fn get(&self, id: f64) -> Result<Rc<T>> {
        let found = self.all.borrow().get(&(id as u64)).cloned();
        found.ok_or_else(|| Error::new(self.gone.0, self.gone.1))
    }

    /// Lets the object go: nobody in JavaScript needs it any more.
    pub(crate) fn remove(&self, id: f64) {
        // Taken out first: to drop one may close a connection, which is not to happen inside the borrow.
        let object = self.all.borrow_mut().remove(&(id as u64));
        drop(object);
    }
}

impl<T> Objects<T> {
    /// All of them, with their numbers.
    pub(crate) fn all(&self) -> Vec<(f64, Rc<T>)> {
        self.all.borrow().iter().map(|(&id, object)| (double(id), Rc::clone(object))).collect()
    }
}

/// Of the peer with a number: what has to leave in order with everything else sent to it.
pub(crate) struct Of<T> {
    pub(crate) peer: f64,
    pub(crate) object: T,
}
