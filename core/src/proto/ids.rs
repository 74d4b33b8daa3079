//! Maps keyed by the ids of operations and calls. Most are counted up by this process, so one multiplication spreads them
//! well enough and costs a tenth of the standard hash. The other side chooses the ids of its own calls. One that chooses
//! them to collide has its frames looked up slowly, among as many calls as this side gives places for and no more.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type IdMap<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(self.0 ^ u64::from(byte));
        }
    }

    fn write_u64(&mut self, id: u64) {
        // 2^64 divided by the golden ratio: neighbours end far apart. The low half of the product, which chooses the place
        // in the map, knows nothing of the id's high bits; the high half does.
        let product = u128::from(id) * 0x9E37_79B9_7F4A_7C15;
        self.0 = product as u64 ^ (product >> 64) as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn bytes_are_spread_too() {
        let hash = |bytes: &[u8]| {
            let mut hasher = IdHasher::default();
            hasher.write(bytes);
            hasher.finish()
        };
        let hashes: HashSet<u64> = (0..=u16::MAX).map(|word| hash(&word.to_le_bytes())).collect();
        assert!(hashes.len() > 65_000, "{}", hashes.len());
    }

    #[test]
    fn ids_in_any_even_steps_are_spread() {
        for step in [1, 2, 1 << 16, 1 << 32, 1 << 40, 1 << 53] {
            let place = |n: u64| {
                let mut hasher = IdHasher::default();
                hasher.write_u64(n.wrapping_mul(step).wrapping_add(1));
                hasher.finish() % 1024
            };
            let places: HashSet<u64> = (0..1024).map(place).collect();
            assert!(places.len() > 256, "{step}: {}", places.len());
        }
    }
}
