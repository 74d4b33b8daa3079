//! Which processors this process may use.

/// Whether this thread can wait busily for process `_peer` without taking the time that one needs.
pub(crate) fn room_beside(_peer: i32) -> bool {
    std::thread::available_parallelism().is_ok_and(|processors| processors.get() > 1)
}
