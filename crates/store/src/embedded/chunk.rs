//! The points of a series within a span, packed: moments and one or more columns of numbers, each compressed losslessly.
//!
//! The compression is pcodec's, which finds out by itself whether numbers are best kept as they are, as differences, or
//! as multiples of something; every bit comes back.

use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress};

/// Raised when the layout changes.
const VERSION: u8 = 1;
/// Beyond this, more effort hardly makes chunks smaller.
const EFFORT: usize = 6;

/// Points in the order of time, no two at one moment: milliseconds since the span began, and `N` numbers each.
pub(super) type Points<const N: usize> = Vec<(u32, [f64; N])>;

/// Puts points in order; of those at one moment the last one stays.
pub(super) fn in_order<const N: usize>(mut points: Points<N>) -> Points<N> {
    if points.is_sorted_by(|a, b| a.0 < b.0) {
        return points;
    }
    points.reverse();
    points.sort_by_key(|(at, _)| *at);
    points.dedup_by_key(|(at, _)| *at);
    points
}

/// Packs points.
pub(super) fn pack<const N: usize>(points: &[(u32, [f64; N])]) -> Result<Vec<u8>, String> {
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
    let moments: Vec<u32> = points.iter().map(|(at, _)| *at).collect();
    add(simple_compress(&moments, &config).map_err(|error| error.to_string())?);
    for column in 0..N {
        let numbers: Vec<f64> = points.iter().map(|(_, numbers)| numbers[column]).collect();
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
        for ((_, point), number) in points.iter_mut().zip(numbers) {
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
        let packed = pack(&[(1, [0.5]), (2, [0.25])]).expect("packed");
        assert!(unpack::<1>(&packed).is_some());
        assert!(unpack::<3>(&packed).is_none());
        assert!(unpack::<1>(&packed[..packed.len() - 1]).is_none());
        assert!(unpack::<1>(&[]).is_none());
        assert!(unpack::<1>(&[9, 9, 9]).is_none());
    }

    #[test]
    fn of_two_at_one_moment_the_later_one_stays() {
        let points = vec![(2, [1.0]), (1, [2.0]), (2, [3.0]), (1, [4.0]), (5, [5.0])];
        assert_eq!(in_order(points), [(1, [4.0]), (2, [3.0]), (5, [5.0])]);
    }

    proptest! {
        #[test]
        fn every_bit_comes_back(points in proptest::collection::btree_map(0_u32..3_600_000, any::<[f64; 3]>(), 0..300)) {
            let points: Points<3> = points.into_iter().collect();
            let read = unpack::<3>(&pack(&points).expect("packed")).expect("our own chunk");
            let bits = |points: &Points<3>| -> Vec<(u32, [u64; 3])> {
                points.iter().map(|(at, numbers)| (*at, numbers.map(f64::to_bits))).collect()
            };
            prop_assert_eq!(bits(&read), bits(&points));
        }
    }
}
