//! The transforms alone, for those who have a metric's values already: a table of steps instead of samples.

use forewarn_types::{EventTime, StepLength};

use crate::definition::FeatureSet;
use crate::history::{History, Scratch};
use crate::plan::Plan;

/// Computes the features of a set over a table of its metrics' values, row by row.
#[derive(Debug)]
pub struct Transforms<'a> {
    set: &'a FeatureSet,
    plan: Plan,
    history: History,
    scratch: Scratch,
    ages: Vec<f64>,
    newest: Option<i64>,
}

impl<'a> Transforms<'a> {
    /// Begins a table with this spacing.
    #[must_use]
    pub fn new(set: &'a FeatureSet, step: StepLength) -> Self {
        let plan = Plan::new(set, step);
        let history = History::new(&plan);
        // A value of a table belongs to its step, so it is of no age that anybody knows.
        let ages = vec![f64::NAN; set.metrics.len()];
        Self {
            set,
            plan,
            history,
            scratch: Scratch::default(),
            ages,
            newest: None,
        }
    }

    /// The features at the step that ends at `end`, in the order of the set; NaN is undefined. `row` has one value per
    /// metric of the set, NaN where it has none. Rows come in the order of their steps; steps that are left out are
    /// gaps.
    ///
    /// # Panics
    /// When the row has another length than the set has metrics, or does not come after the one before.
    pub fn push(
        &mut self,
        end: EventTime,
        row: &[f64],
    ) -> impl ExactSizeIterator<Item = f64> + use<'_> {
        assert_eq!(
            row.len(),
            self.set.metrics.len(),
            "a row has one value per metric"
        );
        let step = self.plan.step.millis();
        let number = end.millis().div_euclid(step);
        assert!(
            self.newest.is_none_or(|newest| number > newest),
            "rows come in the order of their steps"
        );
        self.newest = Some(number);
        self.history.push(&self.plan, number, row);
        let moment = if self.plan.times.is_empty() {
            None
        } else {
            self.set.calendar.at(EventTime(end.millis() - step))
        };
        self.history
            .features(&self.plan, &self.ages, moment, &mut self.scratch)
    }
}
