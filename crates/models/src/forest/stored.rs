//! The form in which a forest travels: trees told from the root, left before right, about 4 bytes a node with postcard.
//!
//! There are no indexes in it that could point nowhere or in a circle, and nothing that follows from something else.
//! Reading builds the forest through the same door as growing does, and refuses what is none.

use serde::{Deserialize, Serialize};

use super::tree::{Part, Tree};
use super::{Forest, TREES_MAX};

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    sample: u16,
    centres: Vec<f32>,
    trees: Vec<Vec<Part>>,
}

impl From<Forest> for Stored {
    fn from(forest: Forest) -> Self {
        Self {
            sample: forest.sample,
            trees: forest.trees.iter().map(Tree::parts).collect(),
            centres: forest.centres,
        }
    }
}

impl TryFrom<Stored> for Forest {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        if stored.trees.len() > TREES_MAX {
            return Err(format!("a forest of {} trees", stored.trees.len()));
        }
        let trees = stored.trees.into_iter().map(Tree::from_parts);
        let trees = trees.collect::<Result<_, _>>()?;
        Self::from_trees(stored.centres, usize::from(stored.sample), trees)
    }
}
