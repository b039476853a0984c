//! How often incident-free time holds an episode whose peak is at least this high: the tail behind every score.
//!
//! **Model.** Peaks of episodes above a high threshold `u` follow a generalised Pareto distribution (peaks over
//! threshold: Coles, *An Introduction to Statistical Modeling of Extreme Values*, 2001, ch. 4–5; for anomaly
//! thresholds: Siffer et al., *Anomaly Detection in Streams with Extreme Value Theory*, KDD 2017). The number of
//! episodes above a level in a block is Poisson, so `p(x) = 1 - exp(-rate(u) · G(x - u))`.
//!
//! **Estimate.** By moments (Hosking & Wallis, Technometrics 29, 1987: near-efficient for the light shapes that occur
//! here). Episodes come as intervals (see [`episodes`](crate::episodes)), so the moments of the excess are those of the
//! episode count as a function of the level, and they can be kept in a histogram: per bin the count, sum and sum of
//! squares, each peak positive and each interval's lower end negative. Nothing is lost but the place of `u` within a
//! bin, and the state is bounded and ages smoothly.
//!
//! **Shipped prior.** [`Prior`] is what would have been seen in some blocks of imaginary observation: exponential
//! peaks. It gives the scale while nothing else does, and the shape (ξ = 0) below 10,000 steps; after that the shape
//! is the data's, shrunk towards the prior's by the number of peaks. What few peaks cannot tell widens the tail:
//! the predictive distribution of an exponential whose scale was estimated from n peaks has ξ = 1/n. The prior counts
//! in that n with [`Prior::width_peaks`], more than with its weight in the estimate: that a scale may be twice the
//! shipped one is for the data to say, that it may be ten times as large is not to be feared of every young tail.

use serde::{Deserialize, Serialize};

use crate::episodes::{Episode, Episodes, Train};

/// Bins are this ratio apart, offset by one: fine where tails of light noise end, coarse where bursts lie.
const BIN_RATIO: f64 = 1.06;

/// Bins reach 1,000; what lies beyond counts as that high.
const BINS: usize = 119;

/// The memory, in blocks: a week of five-minute blocks (e-fold).
const MEMORY: f64 = 2016.0;

/// Thresholds are not lower than this: a level that decays towards zero is above any smaller one for ever.
const LOWEST: f64 = 0.5;

/// The threshold leaves this share of merging windows with a peak above it: rare enough that episodes above it are
/// single, frequent enough that a week gives some two hundred.
const ABOVE_THRESHOLD: f64 = 0.1;

/// Peaks are found with short merging windows until there are this many blocks (a day of five minutes).
/// Short windows find more episodes than there are, so they err on the quiet side.
const MATURE_BLOCKS: f64 = 288.0;

/// The shape is the shipped one below this many steps.
const SHAPE_STEPS: f64 = 10_000.0;

/// The hazard may grow to this multiple of its value at the threshold, no further: a bounded tail would otherwise
/// call everything beyond its end impossible.
const HAZARD_GROWTH: f64 = 3.0;

/// Of the flagged episodes so many times the expected number of false alarms may train, no more. At one times, the
/// tail would confirm whatever threshold it has; above one, a threshold that is too low is always driven up …
const FLAGGED_RATE: f64 = 4.0;

/// … and at least so many in a block: one in two hours. What comes back every hour is usual by the next day, and a
/// fault that comes back within minutes is still a fault.
const FLAGGED_LEAST: f64 = 1.0 / 24.0;

/// A flagged peak counts as at most so many nats rarer than the threshold: one false alarm in twenty is rarer.
const CENSORED: f64 = 3.0;

/// As many flagged episodes may train in a row when none has for long.
const CREDIT: f64 = 4.0;

/// What a tail is taken to be before data say otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Prior {
    /// The level at which there is one episode per block.
    pub location: f64,
    /// Mean excess of peaks over any threshold.
    pub scale: f64,
    /// How much observation it is worth …
    pub blocks: f64,
    /// … but never more than so many peaks, however low the threshold.
    pub peaks: f64,
    /// How many peaks the shape counts as known from.
    pub shape_peaks: f64,
    /// As how many peaks more it counts when a tail is widened by what few peaks cannot tell.
    pub width_peaks: f64,
}

impl Prior {
    fn rate(&self, level: f64) -> f64 {
        ((self.location - level) / self.scale).exp()
    }

    /// Imagined blocks and peaks for a threshold.
    fn imagined(&self, threshold: f64) -> (f64, f64) {
        let rate = self.rate(threshold);
        let blocks = self.blocks.min(self.peaks / rate);
        (blocks, blocks * rate)
    }
}

/// The calibration of one stream of raw values.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Peaks of episodes merged within a block: what is meant.
    long: Peaks,
    /// Peaks of shorter episodes, until there are enough of the others.
    short: Option<Peaks>,
    steps_per_block: u32,
    /// Steps since the last fit.
    since_fit: u32,
    steps: u64,
    /// Location and scale of the prior that replaced the shipped one.
    learned: Option<(f64, f64)>,
    /// How many flagged episodes may train.
    credit: f64,
    fit: Fit,
    /// The fit from further down, where `fit` begins far out; otherwise the same.
    body: Fit,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Peaks {
    episodes: Episodes,
    /// Count, sum, sum of squares per bin; as long as the highest bin used.
    bins: Vec<[f32; 3]>,
    /// Blocks observed, aged.
    blocks: f64,
}

/// The fitted tail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Fit {
    threshold: f64,
    /// Logarithm of the episodes per block above the threshold.
    log_rate: f64,
    scale: f64,
    shape: f64,
    /// Peaks behind it, the prior's included.
    peaks: f64,
}

impl Tail {
    /// An empty tail for steps of which `steps_per_block` make a block, which has to make do with few blocks at first.
    #[must_use]
    pub fn new(steps_per_block: u32, prior: &Prior) -> Self {
        Self::build(steps_per_block, prior, true)
    }

    /// An empty tail whose prior is good enough to wait for whole blocks.
    #[must_use]
    pub fn patient(steps_per_block: u32, prior: &Prior) -> Self {
        Self::build(steps_per_block, prior, false)
    }

    fn build(steps_per_block: u32, prior: &Prior, in_a_hurry: bool) -> Self {
        let short = short_window(steps_per_block);
        let mut tail = Self {
            long: Peaks::new(steps_per_block),
            // With few steps per block there is nothing to be gained.
            short: (in_a_hurry && 2 * short <= steps_per_block).then(|| Peaks::new(short)),
            steps_per_block,
            since_fit: 0,
            steps: 0,
            learned: None,
            credit: 0.0,
            fit: Fit::default(),
            body: Fit::default(),
        };
        tail.refit(prior);
        tail
    }

    /// Takes in the next step's value.
    ///
    /// A flagged peak is either a false alarm, which belongs to the tail, or an incident, which does not, and the
    /// tail cannot tell. Dropping them all would cut the tail at its own threshold, and lower it ever further;
    /// keeping them all would teach it that incidents are normal. So a few times as many train as the budget expects
    /// to be false (`flagged_per_block`), and however high they were, they count no higher than false alarms usually
    /// are (`ceiling`, see [`Tail::ceiling`]).
    pub fn observe(
        &mut self,
        value: f64,
        ceiling: f64,
        flagged_per_block: f64,
        train: Train,
        prior: &Prior,
    ) {
        let accrues = (FLAGGED_RATE * flagged_per_block).max(FLAGGED_LEAST);
        self.take(value, ceiling, accrues, train, prior);
    }

    /// As [`observe`](Self::observe), but flagged peaks train at the budget's rate alone, however seldom that is: for a
    /// tail that was fitted on incident-free history, and is fitted anew when life changes.
    pub fn observe_strictly(
        &mut self,
        value: f64,
        ceiling: f64,
        flagged_per_block: f64,
        train: Train,
        prior: &Prior,
    ) {
        self.take(
            value,
            ceiling,
            FLAGGED_RATE * flagged_per_block,
            train,
            prior,
        );
    }

    fn take(&mut self, value: f64, ceiling: f64, accrues: f64, train: Train, prior: &Prior) {
        let value = value.clamp(0.0, ceiling) as f32;
        let per_step = 1.0 / f64::from(self.steps_per_block);
        self.credit = (self.credit + accrues * per_step).min(CREDIT);
        if let Some(ended) = self.long.episodes.push(value, train) {
            let trains = match ended.train {
                Train::Yes => true,
                Train::Flagged => self.credit >= 1.0,
                Train::Incident => false,
            };
            if trains {
                self.long.add(ended);
            }
            if trains && ended.train == Train::Flagged {
                self.credit -= 1.0;
            }
        }
        self.long.blocks += per_step;
        if let Some(short) = &mut self.short {
            if let Some(ended) = short.episodes.push(value, train)
                && (ended.train == Train::Yes
                    || (ended.train == Train::Flagged && self.credit >= 1.0))
            {
                short.add(ended);
            }
            short.blocks += per_step;
        }
        self.steps = self.steps.saturating_add(1);
        self.since_fit += 1;
        if self.since_fit >= self.steps_per_block.max(5) {
            self.refit(prior);
        }
    }

    /// Whether it says what is meant, rather than erring on the quiet side.
    #[must_use]
    pub fn is_mature(&self) -> bool {
        self.long.blocks >= MATURE_BLOCKS
    }

    /// Blocks observed, aged.
    #[must_use]
    pub fn blocks(&self) -> f64 {
        self.long.blocks
    }

    /// Episodes behind the fit, the prior's included.
    #[must_use]
    pub fn peaks(&self) -> f64 {
        self.fit.peaks
    }

    /// `-ln p`, where `p` is the probability that a block holds a peak of at least `value`. Zero when certain.
    #[must_use]
    pub fn rarity(&self, value: f64) -> f64 {
        if value >= self.fit.threshold && value > 0.0 {
            return self.fit.rarity(value);
        }
        let edge = self.fit.rarity(self.fit.threshold);
        if value >= self.body.threshold && value > 0.0 {
            return self.body.rarity(value).min(edge);
        }
        // Nothing is decided down here; it only has to rise from nothing.
        let edge = edge.min(self.body.rarity(self.body.threshold));
        if value > 0.0 {
            edge * value / self.body.threshold
        } else {
            0.0
        }
    }

    /// The value whose [`rarity`](Self::rarity) is `rarity`, far out.
    #[must_use]
    pub fn value_at(&self, rarity: f64) -> f64 {
        let p = (-rarity).exp();
        let log_rate = if p < 1e-9 {
            -rarity
        } else {
            (-(-p).ln_1p()).ln()
        };
        self.fit.threshold + self.fit.excess_at((self.fit.log_rate - log_rate).max(0.0))
    }

    /// The value up to which a peak counts, given the rarity at which the score is 1.
    #[must_use]
    pub fn ceiling(&self, rarity_at_one: f64) -> f64 {
        self.value_at(rarity_at_one + CENSORED)
    }

    /// Mean excess over the threshold, as fitted: how far the tail reaches.
    #[must_use]
    pub fn scale(&self) -> f64 {
        self.fit.scale
    }

    /// Bytes of state.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let peaks =
            |peaks: &Peaks| peaks.episodes.bytes() + peaks.bins.len() * size_of::<[f32; 3]>();
        size_of::<Self>() + peaks(&self.long) + self.short.as_ref().map_or(0, peaks)
    }

    fn refit(&mut self, prior: &Prior) {
        let kept = (-f64::from(self.since_fit) / f64::from(self.steps_per_block) / MEMORY).exp();
        self.since_fit = 0;
        self.long.age(kept);
        if let Some(short) = &mut self.short {
            short.age(kept);
        }
        if self.is_mature() && self.short.take().is_some() {
            // What the short episodes have taught is a better start than what was shipped.
            let learned = Prior {
                location: self.fit.threshold + self.fit.log_rate * self.fit.scale,
                scale: self.fit.scale,
                ..*prior
            };
            self.learned = Some((learned.location, learned.scale));
        }
        let prior = &self.learned.map_or(*prior, |(location, scale)| Prior {
            location,
            scale,
            ..*prior
        });
        let freedom = (self.steps as f64 / SHAPE_STEPS - 1.0).clamp(0.0, 1.0);
        (self.fit, self.body) = match &self.short {
            Some(short) => {
                let windows =
                    f64::from(self.steps_per_block) / f64::from(short_window(self.steps_per_block));
                short.fit(prior, ABOVE_THRESHOLD * windows, freedom)
            }
            None => self.long.fit(prior, ABOVE_THRESHOLD, freedom),
        };
    }
}

impl Fit {
    fn rarity(&self, value: f64) -> f64 {
        let log_rate = self.log_rate - self.log_excess(value - self.threshold);
        // -ln(1 - exp(-rate)); for rare peaks the rate itself is the probability.
        if log_rate < -20.0 {
            -log_rate
        } else {
            -(-(-log_rate.exp()).exp_m1()).ln()
        }
    }

    /// `-ln` of the share of peaks above the threshold that exceed it by `excess`.
    fn log_excess(&self, excess: f64) -> f64 {
        let knee = self.knee();
        let curved = |excess: f64| {
            let t = self.shape * excess / self.scale;
            if t.abs() < 1e-6 {
                excess / self.scale
            } else {
                t.ln_1p() / self.shape
            }
        };
        if excess <= knee {
            curved(excess)
        } else {
            curved(knee) + (excess - knee) * HAZARD_GROWTH / self.scale
        }
    }

    fn excess_at(&self, log: f64) -> f64 {
        let knee = self.knee();
        let at_knee = self.log_excess(knee.min(1e6));
        if log > at_knee {
            return knee + (log - at_knee) * self.scale / HAZARD_GROWTH;
        }
        let t = self.shape * log;
        if t.abs() < 1e-6 {
            log * self.scale
        } else {
            t.exp_m1() * self.scale / self.shape
        }
    }

    /// Where the hazard has grown as far as it may.
    fn knee(&self) -> f64 {
        if self.shape < 0.0 {
            (1.0 / HAZARD_GROWTH - 1.0) * self.scale / self.shape
        } else {
            f64::INFINITY
        }
    }
}

impl Peaks {
    fn new(window: u32) -> Self {
        Self {
            episodes: Episodes::new(window),
            bins: Vec::new(),
            blocks: 0.0,
        }
    }

    fn add(&mut self, episode: Episode) {
        // An interval that begins at zero has no lower end: no threshold lies below.
        let low = (episode.low > 0.0).then_some((episode.low, -1.0));
        for (value, sign) in std::iter::once((episode.high, 1.0)).chain(low) {
            let bin = bin_of(f64::from(value));
            if bin >= self.bins.len() {
                self.bins.resize(bin + 1, [0.0; 3]);
            }
            let [count, sum, squares] = &mut self.bins[bin];
            *count += sign;
            *sum += sign * value;
            *squares += sign * value * value;
        }
    }

    fn age(&mut self, kept: f64) {
        self.blocks *= kept;
        for value in self.bins.iter_mut().flatten() {
            *value *= kept as f32;
        }
    }

    /// Fits with the lowest threshold above which the model holds.
    fn fit(&self, prior: &Prior, per_block: f64, freedom: f64) -> (Fit, Fit) {
        let body = self.fit_above(prior, per_block, freedom);
        let mut fit = body;
        // Noise with rare bursts is two things: above a threshold between them, only the bursts remain.
        for share in [1.0 / 3.0, 0.1, 1.0 / 30.0] {
            if self.holds(&fit) {
                break;
            }
            fit = self.fit_above(prior, share * per_block, freedom);
        }
        (fit, body)
    }

    /// Whether as many peaks lie far out as the fit says, give or take two standard deviations.
    fn holds(&self, fit: &Fit) -> bool {
        [0.2_f64, 0.05].into_iter().all(|share| {
            let bin = bin_of(fit.threshold + fit.excess_at(-share.ln())) + 1;
            let expected = fit.peaks * (-fit.log_excess(edge(bin) - fit.threshold)).exp();
            let seen: f64 = self
                .bins
                .iter()
                .skip(bin)
                .map(|[count, ..]| f64::from(*count))
                .sum();
            (seen - expected).abs() <= 2.0 * expected.sqrt() + 1.0
        })
    }

    /// `per_block`: how many episodes per block the threshold shall leave above it.
    fn fit_above(&self, prior: &Prior, per_block: f64, freedom: f64) -> Fit {
        let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
        let (mut threshold, mut imagined_blocks, mut imagined) = (0.0, 0.0, 0.0);
        for bin in
            (bin_of(LOWEST)..self.bins.len().max(bin_of(prior.location.max(LOWEST)) + 1)).rev()
        {
            if let Some([c, s, q]) = self.bins.get(bin) {
                count += f64::from(*c);
                sum += f64::from(*s);
                squares += f64::from(*q);
            }
            threshold = edge(bin);
            (imagined_blocks, imagined) = prior.imagined(threshold);
            if count + imagined >= per_block * (self.blocks + imagined_blocks) {
                break;
            }
        }
        // Sums around the threshold rather than zero.
        let count = count.max(0.0);
        let excess = (sum - count * threshold).max(0.0);
        let excess_squares =
            (squares - 2.0 * threshold * sum + count * threshold * threshold).max(0.0);
        let peaks = (count + imagined).max(1e-3);
        let mean = ((excess + imagined * prior.scale) / peaks).max(1e-3);
        let shape = freedom * shape_by_moments(count, excess, excess_squares, prior.shape_peaks);
        Fit {
            threshold,
            log_rate: (peaks / (self.blocks + imagined_blocks).max(1e-9)).ln(),
            scale: mean * (1.0 - shape),
            // What n peaks cannot tell widens the tail.
            shape: shape + 1.0 / (peaks + prior.width_peaks + 1.0),
            peaks,
        }
    }
}

/// Shape by the method of moments, shrunk towards zero by how few peaks there are.
fn shape_by_moments(count: f64, excess: f64, squares: f64, prior: f64) -> f64 {
    if count < 10.0 {
        return 0.0;
    }
    let mean = excess / count;
    let variance = squares / count - mean * mean;
    if mean <= 0.0 || variance <= 0.0 {
        return 0.0;
    }
    let shape = 0.5 * (1.0 - mean * mean / variance);
    (shape * count / (count + prior)).clamp(-0.4, 0.3)
}

/// Ten seconds of 1-s steps.
fn short_window(steps_per_block: u32) -> u32 {
    (steps_per_block / 10).clamp(2, 10)
}

fn bin_of(value: f64) -> usize {
    (((value.max(0.0) + 1.0).ln() / BIN_RATIO.ln()) as usize).min(BINS - 1)
}

fn edge(bin: usize) -> f64 {
    BIN_RATIO.powi(i32::try_from(bin).unwrap_or(i32::MAX)) - 1.0
}
