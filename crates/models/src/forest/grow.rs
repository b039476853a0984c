//! Growing: samples are drawn, and cut at random until every row is alone or the tree is high enough.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::filled;
use super::tree::{Part, Weight, side};

/// `sample` different rows, drawn at random (R. Floyd's algorithm) and copied together, with centres for what is missing.
pub(super) fn sample(
    rows: &[f32],
    centres: &[f32],
    sample: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<f32> {
    let columns = centres.len();
    let count = rows.len() / columns;
    let mut drawn = vec![false; count];
    let mut taken = Vec::with_capacity(sample * columns);
    for last in count - sample..count {
        let number = rng.random_range(0..=last as u64) as usize;
        let number = if drawn[number] { last } else { number };
        drawn[number] = true;
        taken.extend_from_slice(&rows[number * columns..][..columns]);
    }
    for row in taken.chunks_exact_mut(columns) {
        for (value, centre) in row.iter_mut().zip(centres) {
            *value = filled(*value, *centre);
        }
    }
    taken
}

/// Cuts the rows of a sample apart. All values are finite; `extension` is less than the number of columns.
pub(super) fn grow(
    rows: &[f32],
    columns: usize,
    extension: usize,
    rng: &mut ChaCha8Rng,
) -> Vec<Part> {
    let count = rows.len() / columns;
    let mut grower = Grower {
        rows,
        columns,
        extension,
        // As high as a balanced tree: what is still together then is ordinary.
        height: count.next_power_of_two().trailing_zeros(),
        order: (0..columns).map(|column| column as u16).collect(),
        parts: Vec::with_capacity(2 * count),
    };
    let mut members: Vec<u16> = (0..count).map(|row| row as u16).collect();
    grower.split(&mut members, 0, rng);
    grower.parts
}

/// A tree in the making.
struct Grower<'a> {
    rows: &'a [f32],
    columns: usize,
    extension: usize,
    height: u32,
    /// All columns; drawing from them changes their order.
    order: Vec<u16>,
    parts: Vec<Part>,
}

impl Grower<'_> {
    /// Cuts the rows that are still together. The height bounds the depth of the recursion: 8 for 256 rows.
    fn split(&mut self, members: &mut [u16], depth: u32, rng: &mut ChaCha8Rng) {
        let part = if depth == self.height || members.len() < 2 {
            None
        } else if self.extension == 0 {
            self.along_an_axis(members, rng)
        } else {
            self.askew(members, rng)
        };
        let middle = match &part {
            None => {
                let rows = members.len() as u16;
                return self.parts.push(Part::Leaf { rows });
            }
            Some(Part::Cut { column, cut }) => {
                partition(members, |row| self.value(row, *column) > *cut)
            }
            Some(Part::Askew(weights)) => partition(members, |row| {
                side(weights, |column| self.value(row, column)) > 0.0
            }),
            Some(Part::Leaf { .. }) => unreachable!("a cut is no leaf"),
        };
        self.parts.extend(part);
        let (left, right) = members.split_at_mut(middle);
        self.split(left, depth + 1, rng);
        self.split(right, depth + 1, rng);
    }

    /// A random column in which the rows differ, and a place between its least value (included) and its greatest.
    fn along_an_axis(&mut self, members: &[u16], rng: &mut ChaCha8Rng) -> Option<Part> {
        for open in (1..=self.order.len()).rev() {
            let (column, least, most) = self.draw(open, members, rng);
            if least < most {
                let cut = between(least, most, rng);
                return Some(Part::Cut { column, cut });
            }
        }
        None
    }

    /// A random direction over several columns, and a random point of the box around the rows through which the cut
    /// goes. Columns weigh by their spread in the box, or the one with the largest numbers would decide alone. As in
    /// the paper, all rows may be on one side: it is the space without rows that is cut off then.
    fn askew(&mut self, members: &[u16], rng: &mut ChaCha8Rng) -> Option<Part> {
        let mut weights = Vec::with_capacity(self.extension + 1);
        for open in (1..=self.order.len()).rev() {
            let (column, least, most) = self.draw(open, members, rng);
            if least < most {
                let weight = (normal(rng) / (f64::from(most) - f64::from(least))) as f32;
                let point = between(least, most, rng);
                // A spread next to nothing makes a weight next to infinity: such a column is as good as constant.
                if weight.is_finite() && weight != 0.0 {
                    weights.push(Weight {
                        column,
                        weight,
                        point,
                    });
                }
            }
            if weights.len() > self.extension {
                break;
            }
        }
        (!weights.is_empty()).then_some(Part::Askew(weights))
    }

    /// One of the first `open` columns, which moves behind the others, and its least and greatest value.
    fn draw(&mut self, open: usize, members: &[u16], rng: &mut ChaCha8Rng) -> (u16, f32, f32) {
        let drawn = rng.random_range(0..open as u64) as usize;
        self.order.swap(drawn, open - 1);
        let column = self.order[open - 1];
        let (mut least, mut most) = (f32::INFINITY, f32::NEG_INFINITY);
        for row in members {
            let value = self.value(*row, column);
            least = if value < least { value } else { least };
            most = if value > most { value } else { most };
        }
        (column, least, most)
    }

    fn value(&self, row: u16, column: u16) -> f32 {
        self.rows[usize::from(row) * self.columns + usize::from(column)]
    }
}

/// Moves what goes right behind what goes left; gives the place of the first that goes right.
fn partition(members: &mut [u16], right: impl Fn(u16) -> bool) -> usize {
    let mut middle = 0;
    for at in 0..members.len() {
        let goes_left = !right(members[at]);
        members.swap(at, middle);
        middle += usize::from(goes_left);
    }
    middle
}

/// At random from `least` on, and less than `most`: what is compared with "greater" leaves something on either side.
fn between(least: f32, most: f32, rng: &mut ChaCha8Rng) -> f32 {
    let (low, high) = (f64::from(least), f64::from(most));
    let place = (low + (high - low) * rng.random::<f64>()) as f32;
    if place < most { place } else { least }
}

/// From the standard normal distribution (G. Box and M. Muller's transform).
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}
