//! Many rows through the trees at once, without walking: every cut is compared with every row.
//!
//! A walk is a chain of loads at places that depend on the load before, which a processor can only wait for. A tree of
//! 256 rows has some 64 cuts. To compare all of them takes eight times the comparisons of a walk, but up to sixteen rows
//! fit into one vector comparison, and nothing is loaded from where it is not expected. Of a cut's two sides one is kept
//! for each row, from the leaves up, until the root has the path.
//!
//! No arithmetic is done on paths but to choose between them, so each vector unit gives the same bits, and so does a walk.

use std::hint::select_unpredictable;

use pulp::{Arch, NullaryFnOnce};

use super::tree::{DEPTH_MAX, Tree};

/// A value of each of so many rows, in whole lines of the cache: off them, each vector would take two loads.
///
/// The more rows, the less it costs to turn to a cut; but all columns of the rows should stay in the first-level cache
/// (48 KiB, say) while the trees pass by.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Lanes<const ROWS: usize>([f32; ROWS]);

/// What is to be done for a cut, or at the end of a tree. Trees are taken from their last node to the first: what lies
/// right of a cut, then what lies left of it, then the cut; what was chosen for the two is on top of the stack then.
#[derive(Clone, Copy)]
enum Step {
    /// Chooses between two leaves.
    Leaves { at: Cut, left: f32, right: f32 },
    /// Chooses between what is on top, on the left side, and a leaf.
    RightLeaf { at: Cut, right: f32 },
    /// Chooses between a leaf and what is on top, on the right side.
    LeftLeaf { at: Cut, left: f32 },
    /// Chooses between what is on top, on the left side, and what is below it.
    Neither { at: Cut },
    /// A tree is done: what is on top is the path.
    Root,
    /// A tree is done that is a leaf.
    RootLeaf { path: f32 },
}

#[derive(Clone, Copy)]
struct Cut {
    column: u16,
    cut: f32,
}

/// The steps of all trees of a forest, none of which has cuts that lie askew, and room to take them with `ROWS` rows.
pub(super) struct Bulk<const ROWS: usize> {
    arch: Arch,
    steps: Vec<Step>,
    /// The rows, column by column.
    values: Vec<Lanes<ROWS>>,
    stack: Vec<Lanes<ROWS>>,
}

impl<const ROWS: usize> Bulk<ROWS> {
    pub(super) fn new(trees: &[Tree], columns: usize) -> Self {
        let mut steps = Vec::with_capacity(trees.iter().map(|tree| tree.nodes.len()).sum());
        for tree in trees {
            add_steps(tree, &mut steps);
        }
        Self {
            arch: Arch::new(),
            steps,
            values: vec![Lanes([0.0; ROWS]); columns],
            stack: vec![Lanes([0.0; ROWS]); DEPTH_MAX],
        }
    }

    /// Puts one of the rows in its place.
    pub(super) fn put(&mut self, row: usize, values: impl Iterator<Item = f32>) {
        for (lanes, value) in self.values.iter_mut().zip(values) {
            lanes.0[row] = value;
        }
    }

    /// The sums of the paths of all rows. Those of rows that were not put mean nothing.
    pub(super) fn sums(&mut self) -> [f64; ROWS] {
        let mut sums = [0.0; ROWS];
        self.arch.dispatch(Steps {
            steps: &self.steps,
            values: &self.values,
            stack: &mut self.stack,
            sums: &mut sums,
        });
        sums
    }
}

fn add_steps(tree: &Tree, steps: &mut Vec<Step>) {
    let leaf = |at: usize| tree.is_leaf(at).then(|| tree.paths[at]);
    for (place, node) in tree.nodes.iter().enumerate().rev() {
        let at = Cut {
            column: node.column,
            cut: node.cut,
        };
        let right = usize::from(node.right);
        if right != place {
            steps.push(match (leaf(place + 1), leaf(right)) {
                (Some(left), Some(right)) => Step::Leaves { at, left, right },
                (None, Some(right)) => Step::RightLeaf { at, right },
                (Some(left), None) => Step::LeftLeaf { at, left },
                (None, None) => Step::Neither { at },
            });
        }
    }
    steps.push(leaf(0).map_or(Step::Root, |path| Step::RootLeaf { path }));
}

/// The work itself, for [`Arch`] to compile once per vector unit. A closure would not be inlined.
struct Steps<'a, const ROWS: usize> {
    steps: &'a [Step],
    values: &'a [Lanes<ROWS>],
    stack: &'a mut [Lanes<ROWS>],
    sums: &'a mut [f64; ROWS],
}

impl<const ROWS: usize> NullaryFnOnce for Steps<'_, ROWS> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let mut height = 0;
        for step in self.steps {
            match *step {
                Step::Leaves { at, left, right } => {
                    let values = &self.values[usize::from(at.column)].0;
                    for (chosen, value) in self.stack[height].0.iter_mut().zip(values) {
                        *chosen = select_unpredictable(*value > at.cut, right, left);
                    }
                    height += 1;
                }
                Step::RightLeaf { at, right } => {
                    let values = &self.values[usize::from(at.column)].0;
                    for (chosen, value) in self.stack[height - 1].0.iter_mut().zip(values) {
                        *chosen = select_unpredictable(*value > at.cut, right, *chosen);
                    }
                }
                Step::LeftLeaf { at, left } => {
                    let values = &self.values[usize::from(at.column)].0;
                    for (chosen, value) in self.stack[height - 1].0.iter_mut().zip(values) {
                        *chosen = select_unpredictable(*value > at.cut, *chosen, left);
                    }
                }
                Step::Neither { at } => {
                    height -= 1;
                    let values = &self.values[usize::from(at.column)].0;
                    let (below, left) = self.stack.split_at_mut(height);
                    let both = below[height - 1].0.iter_mut().zip(&left[0].0);
                    for ((chosen, left), value) in both.zip(values) {
                        *chosen = select_unpredictable(*value > at.cut, *chosen, *left);
                    }
                }
                Step::Root => {
                    height -= 1;
                    for (sum, path) in self.sums.iter_mut().zip(&self.stack[height].0) {
                        *sum += f64::from(*path);
                    }
                }
                Step::RootLeaf { path } => {
                    for sum in self.sums.iter_mut() {
                        *sum += f64::from(path);
                    }
                }
            }
        }
    }
}
