//! What a disk may hold after a power failure: a program's writes are recorded in their order, and its folder is built again
//! as it may be found when the power goes at any place in that order.
//!
//! The rules are those of POSIX at their strictest. What was written to a file is certain once an `fsync` or `fdatasync` of
//! that file that began afterwards has returned; that a name was made, changed or removed is certain once its *folder* was
//! synced likewise. Everything else may be there as a whole, in parts, as zeros, or not at all, each for itself. Real file
//! systems promise more; what survives this survives them.

mod strace;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::generate::Draw;

pub use strace::record;

/// What a disk loses as a piece: a write is torn between two of them.
const SECTOR: u64 = 512;

/// A file or a folder, whatever it is called.
type Node = usize;

#[derive(Clone, Debug)]
enum Deed {
    Make {
        path: PathBuf,
        node: Node,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
        node: Node,
    },
    Remove {
        path: PathBuf,
    },
    Write {
        node: Node,
        at: u64,
        data: Vec<u8>,
    },
    Resize {
        node: Node,
        length: u64,
    },
    Sync {
        data_only: bool,
    },
}

#[derive(Clone, Debug)]
struct Step {
    deed: Deed,
    /// What has to be synced for it to be certain; for a [`Deed::Sync`], what is synced.
    on: Node,
    /// Where it was asked for, and where it had returned, in the order of everything.
    begun: usize,
    done: usize,
    /// From here on it is certain.
    certain: usize,
}

/// What a program did to a folder, and what it told meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// In the order in which they were begun.
    steps: Vec<Step>,
    /// Which nodes are folders.
    folders: Vec<bool>,
    told: Vec<(usize, String)>,
}

/// What becomes of the things that are not certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    /// They are gone.
    Lost,
    /// They are all there: the process died, the machine did not.
    Kept,
    /// Each is there, torn or gone by chance; names change in order up to some place, as file systems with a journal have it.
    NamesInOrder,
    /// Each is there, torn or gone by chance, names too.
    AnyOrder,
}

impl Unsynced {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Lost, Self::Kept, Self::NamesInOrder, Self::AnyOrder];
}

impl Recording {
    /// A place in the order where the power may go: between any two things that were recorded.
    pub fn draw_cut(&self, draw: &mut Draw) -> usize {
        let step = |draw: &mut Draw| draw.index(0, self.steps.len() as u64) as usize;
        match self.steps.get(step(draw)) {
            Some(step) if draw.chance(0.5) => step.begun + 1,
            Some(step) => step.done + 1,
            None => 0,
        }
    }

    /// The place behind everything.
    #[must_use]
    pub fn end(&self) -> usize {
        let ends = self.steps.iter().map(|step| step.done);
        ends.chain(self.told.iter().map(|(at, _)| *at))
            .max()
            .unwrap_or(0)
            + 1
    }

    /// What the program had told before `cut`.
    pub fn told_before(&self, cut: usize) -> impl Iterator<Item = &str> {
        let told = self.told.iter().take_while(move |(at, _)| *at < cut);
        told.map(|(_, words)| words.as_str())
    }

    /// How many things were done, and how many of them are syncs: for the report.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let is_sync = |step: &&Step| matches!(step.deed, Deed::Sync { .. });
        (self.steps.len(), self.steps.iter().filter(is_sync).count())
    }

    /// The same as if no `fdatasync` had been made: to see that whoever checks sees it.
    #[must_use]
    pub fn without_data_syncs(mut self) -> Self {
        self.steps
            .retain(|step| !matches!(step.deed, Deed::Sync { data_only: true }));
        self.settle();
        self
    }

    /// The same as if no folder had been synced.
    #[must_use]
    pub fn without_folder_syncs(mut self) -> Self {
        let folders = self.folders.clone();
        self.steps
            .retain(|step| !(matches!(step.deed, Deed::Sync { .. }) && folders[step.on]));
        self.settle();
        self
    }

    /// Finds from where on each step is certain: behind the first sync that began when the step had returned.
    fn settle(&mut self) {
        let mut syncs: BTreeMap<Node, Vec<(usize, usize)>> = BTreeMap::new();
        for step in &self.steps {
            if matches!(step.deed, Deed::Sync { .. }) {
                syncs
                    .entry(step.on)
                    .or_default()
                    .push((step.begun, step.done));
            }
        }
        for step in &mut self.steps {
            if step.done == 0 {
                continue; // It was there before.
            }
            let after = syncs.get(&step.on).into_iter().flatten();
            let done = after
                .filter(|(begun, _)| *begun > step.done)
                .map(|(_, done)| *done);
            step.certain = done.min().map_or(usize::MAX, |done| done + 1);
        }
    }

    /// Builds the folder as it may be found when the power went at `cut`, in `into`, which is empty.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rebuild(
        &self,
        cut: usize,
        unsynced: Unsynced,
        draw: &mut Draw,
        into: &Path,
    ) -> anyhow::Result<()> {
        // How much survives differs from case to case, or every case would be the same middling one.
        let (share, last_name) = (
            draw.uniform(0.0, 1.0),
            draw.index(0, cut as u64 + 1) as usize,
        );
        let mut names: BTreeMap<&Path, Node> = BTreeMap::new();
        let mut contents: BTreeMap<Node, Vec<(&Deed, Fate)>> = BTreeMap::new();
        for step in self.steps.iter().take_while(|step| step.begun < cut) {
            let is_name = matches!(
                step.deed,
                Deed::Make { .. } | Deed::Rename { .. } | Deed::Remove { .. }
            );
            let fate = match unsynced {
                _ if step.certain <= cut => Fate::Whole,
                Unsynced::Kept => Fate::Whole,
                Unsynced::Lost => continue,
                Unsynced::NamesInOrder if is_name && step.begun > last_name => continue,
                Unsynced::NamesInOrder if is_name => Fate::Whole,
                _ if !draw.chance(share) => continue,
                _ if !is_name && draw.chance(0.5) => Fate::torn(draw),
                _ => Fate::Whole,
            };
            match &step.deed {
                Deed::Make { path, node } => {
                    names.insert(path, *node);
                }
                Deed::Rename { from, to, node } => {
                    names.remove(from.as_path());
                    names.insert(to, *node);
                }
                Deed::Remove { path } => {
                    names.remove(path.as_path());
                }
                deed @ (Deed::Write { node, .. } | Deed::Resize { node, .. }) => {
                    contents.entry(*node).or_default().push((deed, fate));
                }
                Deed::Sync { .. } => {}
            }
        }
        // Parents come before their children. What is in a folder without a name is gone with it.
        for (path, node) in names {
            let target = into.join(path);
            if !target.parent().is_some_and(Path::is_dir) {
                continue;
            }
            if self.folders[node] {
                fs::create_dir(&target).with_context(|| format!("make {}", target.display()))?;
                continue;
            }
            let file = OpenOptions::new()
                .create_new(true)
                .write(true)
                .open(&target);
            let file = file.with_context(|| format!("make {}", target.display()))?;
            for (deed, fate) in contents.get(&node).into_iter().flatten() {
                match deed {
                    Deed::Resize { length, .. } => file.set_len(*length)?,
                    Deed::Write { at, data, .. } => fate.write(&file, *at, data)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// What becomes of a write.
#[derive(Clone, Debug)]
enum Fate {
    Whole,
    /// It ends early.
    Prefix(f64),
    /// The file is as long, but the data are not there.
    Zeros,
    /// Sectors are there or zeros, by this seed.
    Sectors(u64),
}

impl Fate {
    fn torn(draw: &mut Draw) -> Self {
        match draw.index(0, 3) {
            0 => Self::Prefix(draw.uniform(0.0, 1.0)),
            1 => Self::Zeros,
            _ => Self::Sectors(draw.seed()),
        }
    }

    fn write(&self, file: &fs::File, at: u64, data: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Whole => file.write_all_at(data, at),
            Self::Prefix(share) => {
                let length = (data.len() as f64 * share) as usize;
                file.write_all_at(&data[..length], at)
            }
            Self::Zeros => file.write_all_at(&vec![0; data.len()], at),
            Self::Sectors(seed) => {
                let mut draw = Draw::new(*seed, "sectors");
                let mut data = data.to_vec();
                let mut from = 0;
                while from < data.len() {
                    let to_border = SECTOR - (at + from as u64) % SECTOR;
                    let to = data.len().min(from + to_border as usize);
                    if draw.chance(0.5) {
                        data[from..to].fill(0);
                    }
                    from = to;
                }
                file.write_all_at(&data, at)
            }
        }
    }
}

#[cfg(test)]
mod tests;
