//! What can be sent.

use bytes::Bytes;

/// Bytes to send: borrowed ones are written straight from the caller's memory, owned ones are never
/// copied. Borrowed bytes are copied only when the carrier cannot take all of them at once.
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
