//! The points of a series within a span, packed: moments and one or more columns of numbers, each compressed losslessly.
//!
//! The compression is pcodec's, which finds out by itself whether numbers are best kept as they are, as differences, or
//! as multiples of something; every bit comes back.

use std::collections::BTreeMap;

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

/// Raised when the layout changes.
const VERSION: u8 = 1;
/// Beyond this, more effort hardly makes chunks smaller.
const EFFORT: usize = 6;

/// Points by their moments, in milliseconds since the span began; `N` numbers each.
pub(super) type Points<const N: usize> = BTreeMap<u32, [f64; N]>;

/// Packs points.
pub(super) fn pack<const N: usize>(points: &Points<N>) -> Result<Vec<u8>, String> {
    let config = ChunkConfig::default().with_compression_level(EFFORT);
    let mut bytes = vec![VERSION];
    let mut add = |column: Vec<u8>| {
        // A chunk holds an hour or a month of windows: far less than 4 GiB.
        bytes.extend_from_slice(
            &u32::try_from(column.len())
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        bytes.extend_from_slice(&column);
    };
    let moments: Vec<u32> = points.keys().copied().collect();
    add(simple_compress(&moments, &config).map_err(|error| error.to_string())?);
    for column in 0..N {
        let numbers: Vec<f64> = points.values().map(|numbers| numbers[column]).collect();
        add(simple_compress(&numbers, &config).map_err(|error| error.to_string())?);
    }
    Ok(bytes)
}

/// Unpacks points; `None` if these bytes are no such chunk.
pub(super) fn unpack<const N: usize>(bytes: &[u8]) -> Option<Points<N>> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut column = || {
        let (length, behind) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (column, behind) = behind.split_at_checked(length)?;
        rest = behind;
        Some(column)
    };
    let moments: Vec<u32> = simple_decompress(column()?).ok()?;
    let mut points: Points<N> = moments.iter().map(|at| (*at, [0.0; N])).collect();
    for place in 0..N {
        let numbers: Vec<f64> = simple_decompress(column()?).ok()?;
        if numbers.len() != points.len() {
            return None;
        }
        for (point, number) in points.values_mut().zip(numbers) {
            point[place] = number;
        }
    }
    Some(points)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_bytes_are_no_chunk() {
        let packed = pack(&Points::from([(1, [0.5]), (2, [0.25])])).expect("packed");
        assert!(unpack::<1>(&packed).is_some());
        assert!(unpack::<3>(&packed).is_none());
        assert!(unpack::<1>(&packed[..packed.len() - 1]).is_none());
        assert!(unpack::<1>(&[]).is_none());
        assert!(unpack::<1>(&[9, 9, 9]).is_none());
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(points in proptest::collection::btree_map(0_u32..3_600_000, any::<[f64; 3]>(), 0..300)) {
            let read = unpack::<3>(&pack(&points).expect("packed")).expect("our own chunk");
            let bits = |points: &Points<3>| -> Vec<(u32, [u64; 3])> {
                points.iter().map(|(at, numbers)| (*at, numbers.map(f64::to_bits))).collect()
            };
            prop_assert_eq!(bits(&read), bits(&points));
        }
    }
}
