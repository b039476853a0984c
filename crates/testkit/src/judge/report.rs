//! What a comparison found: how much agreed, and the first differences in words.

use std::fmt;

/// So many differences are told in full: after that the kind of mistake is clear, and the rest is counted.
const TOLD: usize = 20;

/// The outcome of comparing a store with the reference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What was compared, in a few words each, with how many things agreed.
    agreed: Vec<(String, u64)>,
    told: Vec<String>,
    differences: u64,
}

impl Report {
    /// Notes that `count` things of this kind are as they should be.
    pub fn agree(&mut self, what: impl Into<String>, count: u64) {
        self.agreed.push((what.into(), count));
    }

    /// Notes a difference.
    pub fn differ(&mut self, difference: impl FnOnce() -> String) {
        self.differences += 1;
        if self.told.len() < TOLD {
            self.told.push(difference());
        }
    }

    /// Adds what another comparison found.
    pub fn add(&mut self, other: Self) {
        self.agreed.extend(other.agreed);
        self.differences += other.differences;
        let room = TOLD.saturating_sub(self.told.len());
        self.told.extend(other.told.into_iter().take(room));
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.differences == 0
    }

    /// How many things of this kind agreed.
    #[must_use]
    pub fn agreed(&self, what: &str) -> u64 {
        self.agreed
            .iter()
            .filter(|(name, _)| name == what)
            .map(|(_, count)| count)
            .sum()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, count) in &self.agreed {
            writeln!(f, "  {count:>9} {what}")?;
        }
        if self.is_clean() {
            return write!(f, "  no difference");
        }
        writeln!(f, "  {} differences:", self.differences)?;
        for difference in &self.told {
            writeln!(f, "  - {difference}")?;
        }
        let untold = self.differences - self.told.len() as u64;
        if untold > 0 {
            write!(f, "  … and {untold} more")
        } else {
            Ok(())
        }
    }
}
