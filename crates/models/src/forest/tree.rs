//! One tree, its nodes in the order in which it is told: a cut, what lies left of it, what lies right of it. So the left
//! child is the next node, and no index can lead back. Leaves lead to themselves: every walk takes as many steps, and
//! none has to ask whether it is over.

use std::hint::select_unpredictable;

use serde::{Deserialize, Serialize};

/// Deeper trees are refused: those of a forest have the height of the sample's logarithm, 12 for the largest.
pub(super) const DEPTH_MAX: usize = 32;

/// Euler's constant, to the precision of `f64`.
const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;

/// A piece of a tree. A tree is told as its root, then its left half, then its right half, each in the same way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Part {
    /// The end of paths, and the rows of the sample that ended there.
    Leaf { rows: u16 },
    /// What is greater than `cut` goes right.
    Cut { column: u16, cut: f32 },
    /// A row goes right where its [`side`] is greater than zero.
    Askew(Vec<Weight>),
}

/// What one column has to do with a cut that lies askew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Weight {
    pub(super) column: u16,
    pub(super) weight: f32,
    /// A place on the cut. Taken off first, so that a small spread around a large number keeps its digits.
    pub(super) point: f32,
}

impl Weight {
    /// Where a value of its column moves a row. Never overflows: the product of two `f32` is an `f64` exactly.
    #[inline(always)]
    pub(super) fn push(self, value: f32) -> f64 {
        f64::from(self.weight) * (f64::from(value) - f64::from(self.point))
    }
}

/// On which side of the cut a row lies, and in its own measure how far off. `row` gives the value of a column.
pub(super) fn side(weights: &[Weight], row: impl Fn(u16) -> f32) -> f64 {
    let mut side = 0.0;
    for weight in weights {
        side += weight.push(row(weight.column));
    }
    side
}

/// A node of a tree that was grown elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given {
    /// A cut along an axis.
    Cut {
        /// The column that is compared.
        column: usize,
        /// With what.
        threshold: f64,
        /// The node for lesser and equal values, as its place in the list.
        left: usize,
        /// The node for greater values.
        right: usize,
    },
    /// The end of paths.
    Leaf {
        /// Rows of the sample that ended here.
        rows: usize,
    },
}

/// A tree of a forest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    /// By node: the length of the path that has to be expected of a row that has come so far.
    pub(super) paths: Vec<f32>,
    /// By node: rows of the sample that came there.
    rows: Vec<u16>,
    /// Where the weights of each askew cut begin, and where the last ones end; empty where cuts lie along the axes.
    starts: Vec<u32>,
    weights: Vec<Weight>,
    /// Steps from the root to the deepest leaf, at most [`DEPTH_MAX`].
    depth: usize,
}

/// Eight bytes. The left child is the next node. A leaf leads to itself, with a cut that everything is greater than.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) cut: f32,
    /// Which column is compared; where cuts lie askew, which of the groups of weights.
    pub(super) column: u16,
    pub(super) right: u16,
}

/// Mean length of an unsuccessful search in a binary search tree of `rows` keys: `c(n)` of the paper.
pub(super) fn mean_path(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = rows as f64;
            2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n
        }
    }
}

impl Tree {
    /// A tree that was grown elsewhere, its root first in the list.
    ///
    /// Thresholds may have more digits than the `f32` that they are compared with: rounded down to the next `f32`, they
    /// part the same values.
    ///
    /// # Errors
    /// If the nodes are no tree, or too large a one.
    pub fn from_nodes(nodes: &[Given]) -> Result<Self, String> {
        let mut parts = Vec::with_capacity(nodes.len());
        let mut waiting = vec![0];
        while let Some(place) = waiting.pop() {
            let node = nodes.get(place);
            let node = node.ok_or_else(|| format!("there is no node {place}"))?;
            if parts.len() == nodes.len() {
                return Err("a node has two parents".into());
            }
            parts.push(match *node {
                Given::Leaf { rows } => Part::Leaf {
                    rows: u16::try_from(rows).map_err(|_| format!("{rows} rows in a leaf"))?,
                },
                Given::Cut {
                    column,
                    threshold,
                    left,
                    right,
                } => {
                    waiting.extend([right, left]);
                    Part::Cut {
                        column: u16::try_from(column).map_err(|_| format!("column {column}"))?,
                        cut: rounded_down(threshold),
                    }
                }
            });
        }
        Self::from_parts(parts)
    }

    /// Lays out a tree. Whatever the parts say, walking through what this gives ends, and stays inside; whether columns
    /// are those of the forest is for [`Tree::check`].
    ///
    /// # Errors
    /// If they are no tree, too large a one, or have numbers that are not finite.
    pub(super) fn from_parts(parts: Vec<Part>) -> Result<Self, String> {
        let mut tree = Self::default();
        if parts.iter().any(|part| matches!(part, Part::Askew(_))) {
            tree.starts.push(0);
        }
        // Cuts whose right half is still to come, each with its depth.
        let mut waiting = Vec::new();
        let mut next = Some(0);
        for part in parts {
            let depth = next.ok_or("there is more after the last leaf")?;
            let place = tree.nodes.len();
            let here = u16::try_from(place).map_err(|_| "more nodes than 16 bits can number")?;
            let (cut, column) = match part {
                Part::Leaf { rows } => {
                    tree.depth = tree.depth.max(depth);
                    tree.push(f32::NEG_INFINITY, 0, here);
                    tree.rows[place] = rows;
                    tree.paths[place] = (depth as f64 + mean_path(usize::from(rows))) as f32;
                    next = waiting.pop().map(|(cut, depth): (usize, usize)| {
                        // A number too large is that of a node that is refused next.
                        tree.nodes[cut].right = here.saturating_add(1);
                        depth + 1
                    });
                    continue;
                }
                Part::Cut { column, cut } if !tree.is_askew() => (cut, column),
                Part::Askew(weights) => (0.0, tree.add(&weights)?),
                Part::Cut { .. } => return Err("cuts along the axes and askew do not mix".into()),
            };
            if !cut.is_finite() {
                return Err("a cut is not finite".into());
            }
            if depth == DEPTH_MAX {
                return Err(format!("deeper than {DEPTH_MAX}"));
            }
            tree.push(cut, column, 0);
            waiting.push((place, depth));
            next = Some(depth + 1);
        }
        if next.is_some() {
            return Err("its last leaves are missing".into());
        }
        tree.expect()?;
        Ok(tree)
    }

    /// The parts that it could be laid out from again.
    pub(super) fn parts(&self) -> Vec<Part> {
        let part = |at: usize| {
            let node = self.nodes[at];
            if self.is_leaf(at) {
                let rows = self.rows[at];
                Part::Leaf { rows }
            } else if self.is_askew() {
                Part::Askew(self.weights_of(node).to_vec())
            } else {
                let (column, cut) = (node.column, node.cut);
                Part::Cut { column, cut }
            }
        };
        (0..self.nodes.len()).map(part).collect()
    }

    /// Whether it is laid out as it should be, for rows of so many columns, and has seen so many rows.
    ///
    /// # Errors
    /// What is wrong, for a person.
    pub(super) fn check(&self, columns: usize, sample: u16) -> Result<(), String> {
        if self.rows.first() != Some(&sample) {
            return Err(format!(
                "saw {} rows, not {sample}",
                self.rows.first().unwrap_or(&0)
            ));
        }
        let parts = self.parts();
        for part in &parts {
            let asked = match part {
                Part::Leaf { .. } => None,
                Part::Cut { column, .. } => Some(*column),
                Part::Askew(weights) => weights.iter().map(|weight| weight.column).max(),
            };
            if let Some(column) = asked.filter(|column| usize::from(*column) >= columns) {
                return Err(format!("asks for column {column} of {columns}"));
            }
        }
        if Self::from_parts(parts)? != *self {
            return Err("is not laid out as it is told".into());
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        size_of::<Self>()
            + size_of_val(&*self.nodes)
            + size_of_val(&*self.paths)
            + size_of_val(&*self.rows)
            + size_of_val(&*self.starts)
            + size_of_val(&*self.weights)
    }

    /// The path of a row, with what a leaf of several rows would have gone on to.
    pub(super) fn path(&self, row: &[f32]) -> f64 {
        let mut at = 0;
        if self.is_askew() {
            for _ in 0..self.depth {
                at = self.next_askew(at, row);
            }
        } else {
            for _ in 0..self.depth {
                at = self.next(at, row);
            }
        }
        f64::from(self.paths[at])
    }

    /// Adds, by column, by how much its cuts change the path that has to be expected of the row.
    pub(super) fn add_changes(&self, row: &[f32], changes: &mut [f64]) {
        let mut at = 0;
        while !self.is_leaf(at) {
            let node = self.nodes[at];
            let next = if self.is_askew() {
                self.next_askew(at, row)
            } else {
                self.next(at, row)
            };
            let change = f64::from(self.paths[next]) - f64::from(self.paths[at]);
            if self.is_askew() {
                let right = next == usize::from(node.right);
                share(self.weights_of(node), row, right, change, changes);
            } else {
                changes[usize::from(node.column)] += change;
            }
            at = next;
        }
    }

    /// The path that has to be expected of a row about which nothing is known.
    pub(super) fn expected(&self) -> f64 {
        f64::from(self.paths[0])
    }

    pub(super) fn is_askew(&self) -> bool {
        !self.starts.is_empty()
    }

    pub(super) fn is_leaf(&self, at: usize) -> bool {
        usize::from(self.nodes[at].right) == at
    }

    fn next(&self, at: usize, row: &[f32]) -> usize {
        let node = self.nodes[at];
        let right = row[usize::from(node.column)] > node.cut;
        // A guess of the branch predictor would be wrong half of the time.
        select_unpredictable(right, usize::from(node.right), at + 1)
    }

    fn next_askew(&self, at: usize, row: &[f32]) -> usize {
        let node = self.nodes[at];
        let side = side(self.weights_of(node), |column| row[usize::from(column)]);
        let right = side > f64::from(node.cut);
        select_unpredictable(right, usize::from(node.right), at + 1)
    }

    pub(super) fn weights_of(&self, node: Node) -> &[Weight] {
        let number = usize::from(node.column);
        &self.weights[self.starts[number] as usize..self.starts[number + 1] as usize]
    }

    /// Keeps the weights of one more cut; gives its number.
    fn add(&mut self, weights: &[Weight]) -> Result<u16, String> {
        let fine = |weight: &Weight| weight.weight.is_finite() && weight.point.is_finite();
        if weights.is_empty() || !weights.iter().all(fine) {
            return Err("an askew cut has no weights, or some that are not finite".into());
        }
        self.weights.extend(weights);
        let end = u32::try_from(self.weights.len()).map_err(|_| "too many weights")?;
        self.starts.push(end);
        u16::try_from(self.starts.len() - 2).map_err(|_| "too many askew cuts".into())
    }

    fn push(&mut self, cut: f32, column: u16, right: u16) {
        self.nodes.push(Node { cut, column, right });
        self.paths.push(0.0);
        self.rows.push(0);
    }

    /// Fills in rows and expected paths of the cuts, from the leaves up: children come after their parents.
    fn expect(&mut self) -> Result<(), String> {
        for at in (0..self.nodes.len()).rev() {
            if self.is_leaf(at) {
                continue;
            }
            let (left, right) = (at + 1, usize::from(self.nodes[at].right));
            let rows = self.rows[left].checked_add(self.rows[right]);
            let some = rows.filter(|rows| *rows > 0);
            self.rows[at] = some.ok_or("a cut of no rows, or too many")?;
            let part = |child: usize| f64::from(self.rows[child]) * f64::from(self.paths[child]);
            self.paths[at] = ((part(left) + part(right)) / f64::from(self.rows[at])) as f32;
        }
        Ok(())
    }
}

/// Shares a change among the columns that moved the row to its side of the cut, as far as each of them did.
fn share(weights: &[Weight], row: &[f32], right: bool, change: f64, changes: &mut [f64]) {
    let towards = |weight: &Weight| {
        let push = weight.push(row[usize::from(weight.column)]);
        f64::max(if right { push } else { -push }, 0.0)
    };
    let all: f64 = weights.iter().map(towards).sum();
    for weight in weights {
        let share = if all > 0.0 {
            towards(weight) / all
        } else {
            1.0 / weights.len() as f64
        };
        changes[usize::from(weight.column)] += change * share;
    }
}

/// The greatest `f32` that is not above `value`: what an `f32` is compared with it, it compares with that the same way.
fn rounded_down(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) > value {
        near.next_down()
    } else {
        near
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_part_the_same_values_after_rounding() {
        for threshold in [
            0.1,
            -0.1,
            1.0,
            16_777_217.0,
            -16_777_217.0,
            1e-46,
            -1e-46,
            0.0,
        ] {
            let cut = rounded_down(threshold);
            for value in [cut.next_down(), cut, cut.next_up()] {
                let (here, there) = (value > cut, f64::from(value) > threshold);
                assert_eq!(here, there, "{value} against {threshold}");
            }
        }
    }

    #[test]
    fn the_mean_path_is_that_of_the_paper() {
        let found = [0, 1, 2, 3, 256].map(mean_path);
        let wanted = [0.0, 0.0, 1.0, 1.207_392_357_589_623, 10.244_770_920_119_917];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found - wanted).abs() < 1e-12, "{found} is not {wanted}");
        }
    }
}
