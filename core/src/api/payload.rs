//! What can be sent.

use bytes::Bytes;

use crate::limits;

/// Bytes to send: owned ones are never copied. Borrowed ones of up to 1 MiB are written straight from the caller's memory,
/// and what the carrier does not take at once is copied; larger ones are always copied, before anything is locked.
///
/// Implemented for `&[u8]`, `&[u8; N]`, `&Vec<u8>`, `&str`, `&String`, `Vec<u8>`, `String`, [`Bytes`] and `&Bytes`;
/// sealed.
pub trait Payload: sealed::Sealed {}

pub(crate) mod sealed {
    use super::Bytes;

    pub trait Sealed {
        fn as_slice(&self) -> &[u8];
        fn into_bytes(self) -> Bytes;
    }
}

macro_rules! payload {
    ($([$($generic:tt)*] $type:ty, $slice:expr, $bytes:expr;)*) => {$(
        impl<$($generic)*> Payload for $type {}
        impl<$($generic)*> sealed::Sealed for $type {
            fn as_slice(&self) -> &[u8] {
                let slice: fn(&Self) -> &[u8] = $slice;
                slice(self)
            }
            fn into_bytes(self) -> Bytes {
                let bytes: fn(Self) -> Bytes = $bytes;
                bytes(self)
            }
        }
    )*};
}

payload! {
    [] &[u8], |s| s, Bytes::copy_from_slice;
    [const N: usize] &[u8; N], |s| *s, |s| Bytes::copy_from_slice(s);
    [] &Vec<u8>, |s| s, |s| Bytes::copy_from_slice(s);
    [] &str, |s| s.as_bytes(), |s| Bytes::copy_from_slice(s.as_bytes());
    [] &String, |s| s.as_bytes(), |s| Bytes::copy_from_slice(s.as_bytes());
    [] Vec<u8>, |s| s, Bytes::from;
    [] String, |s| s.as_bytes(), Bytes::from;
    [] Bytes, |s| s, |s| s;
    [] &Bytes, |s| s, |s| s.clone();
}

/// A payload on its way under a lock.
pub(crate) enum Prepared<P> {
    AsGiven(P),
    Owned(Bytes),
}

impl<P: Payload> Prepared<P> {
    /// Copies what is borrowed and too large for one write, so that nobody who needs the lock waits for that; but not what
    /// is larger than `largest`, which will be refused.
    pub(crate) fn new(payload: P, largest: usize) -> Prepared<P> {
        match payload.as_slice().len() {
            len if len > limits::WRITTEN_AT_ONCE && len <= largest => Prepared::Owned(payload.into_bytes()),
            _ => Prepared::AsGiven(payload),
        }
    }

    /// Whether one write does not do.
    pub(crate) fn is_large(&self) -> bool {
        matches!(self, Prepared::Owned(_))
    }
}

impl<P: Payload> Payload for Prepared<P> {}

impl<P: Payload> sealed::Sealed for Prepared<P> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Prepared::AsGiven(payload) => payload.as_slice(),
            Prepared::Owned(bytes) => bytes,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Prepared::AsGiven(payload) => payload.into_bytes(),
            Prepared::Owned(bytes) => bytes,
        }
    }
}
