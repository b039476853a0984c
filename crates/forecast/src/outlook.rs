//! From a window of points to the distribution of the moment at which a level crosses its limit.
//!
//! **Trend.** Theil–Sen: the median of the slopes between all pairs of points (Sen, JASA 63, 1968); it stands up to
//! 29 % of wild points. Where the later half climbs at another pace than the whole, the later half speaks.
//!
//! **Distribution.** The level is taken as a random walk with drift, observed with noise, its drift known from a
//! window of length `W` only. After a further time `h` it has grown by `b·h` give or take
//! `sqrt(s²·h·(1 + h/W) + e²)`: the walk's own spread, what the window does not tell about the drift, and the noise of
//! the reading (the forecast variance of a random walk with estimated drift; Lee & Carter, JASA 87, 1992, app. B),
//! and a share of the slope for changes that no window shows.
//! So `P(T ≤ h) = Φ((b·h − d) / sqrt(…))` for a distance `d` to the limit, and its quantiles follow by bisection.
//! The long-run variance `s²` is that of increments over a quarter of the window, which contain the slow swings of the
//! rate and not only its jitter.
//!
//! **Abstention.** No claim without enough points, without a climb that its own noise cannot explain, when the climb
//! has slowed down to a plateau, or further ahead than a few times the window.

use crate::history::Point;

/// Points below which there is no trend.
const ENOUGH: usize = 20;

/// How many times its own standard error the slope must be.
const SIGNIFICANT: f64 = 3.0;

/// How far ahead a window can see, in its own lengths.
const REACH: f64 = 2.5;

/// A climb in the last quarter below this share of the trend is a plateau.
const STILL_CLIMBING: f64 = 0.4;

/// The window's length over that of the spans over which increments are taken for the walk's variance: spans long enough
/// to hold slow swings of the rate, short enough that there are some of them.
const LAG: usize = 4;

/// Few increments tell the walk's spread roughly only; Student's t with four degrees of freedom has quantiles this
/// much wider than the normal's.
const FEW: f64 = 1.2;

/// What a window cannot tell of a rate that will yet change: a standard deviation of this share of the slope.
const UNTOLD: f64 = 0.17;

/// The later half speaks for itself when its pace differs from the whole's by this share.
const OTHER_PACE: f64 = 0.3;

/// A fall by more than this share of the window's range begins a new history: a restart, a clean-up.
const RESTART: f64 = 0.5;

/// Normal deviates of the tenth and the ninetieth percentile.
const Z90: f64 = 1.281_551_565_545;

/// When a level will cross its limit, seen from the last point of a window. Times in seconds from that point.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Outlook {
    /// One in ten is sooner.
    pub p10: f64,
    /// As likely before as after.
    pub p50: f64,
    /// One in ten is later; `None` when the trend may as well end before.
    pub p90: Option<f64>,
    /// Share of the capacity per second.
    pub slope: f64,
    /// Length of the window that says so, in seconds.
    pub window: f64,
    /// Where a least-squares line over the same points crosses the limit (Prometheus' `predict_linear`), if it does.
    pub linear: Option<f64>,
    distance: f64,
    walk: f64,
    noise: f64,
}

/// Why nothing is claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abstain {
    /// Too few points, or too few since a restart.
    TooFew,
    /// No climb beyond what the noise explains.
    NotClimbing,
    /// It climbed and has all but stopped.
    Plateau,
    /// The limit lies further ahead than this window can see.
    TooFar,
    /// The limit is reached already.
    Reached,
}

/// Judges a window: when does it cross `limit` (a share of the capacity, as the levels are)?
///
/// # Errors
/// [`Abstain`] says why there is no answer.
pub fn outlook(points: &[Point], limit: f64) -> Result<Outlook, Abstain> {
    let points = since_restart(points);
    if points.len() < ENOUGH {
        return Err(Abstain::TooFew);
    }
    // Most levels stand still: a glance at the thirds spares them the pairs.
    let third = points.len() / 3;
    let rise = mean(&points[points.len() - third..]) - mean(&points[..third]);
    if rise <= 0.0 {
        return Err(Abstain::NotClimbing);
    }
    let (first, last) = (points[0], points[points.len() - 1]);
    let glance = rise / (2.0 / 3.0 * (last.at - first.at));
    if (limit - last.level) / glance > 2.0 * REACH * (last.at - first.at) {
        return Err(Abstain::TooFar);
    }
    let mut points = points;
    let mut slope = theil_sen(points);
    let later = &points[points.len() / 2..];
    if later.len() >= ENOUGH {
        let pace = theil_sen(later);
        if (pace - slope).abs() > OTHER_PACE * slope.abs() {
            (points, slope) = (later, pace);
        }
    }
    if slope <= 0.0 {
        return Err(Abstain::NotClimbing);
    }
    let (first, last) = (points[0], points[points.len() - 1]);
    let window = last.at - first.at;
    let lag = (points.len() / LAG).max(2);
    let walk = walk_variance(points, slope, lag);
    // The drift's standard error is sqrt(s²/W).
    if slope * (window / walk).sqrt() < SIGNIFICANT {
        return Err(Abstain::NotClimbing);
    }
    if !still_climbing(points, slope) {
        return Err(Abstain::Plateau);
    }
    let (now, noise) = present(points, slope);
    let distance = limit - now;
    if distance <= 0.0 {
        return Err(Abstain::Reached);
    }
    if levels_off(points, distance) {
        return Err(Abstain::Plateau);
    }
    let mut outlook = Outlook {
        p10: 0.0,
        p50: distance / slope,
        p90: None,
        slope,
        window,
        linear: least_squares(points, limit),
        distance,
        walk,
        noise,
    };
    if outlook.p50 > REACH * window {
        return Err(Abstain::TooFar);
    }
    outlook.p10 = outlook.quantile(-Z90).unwrap_or(0.0);
    outlook.p90 = outlook.quantile(Z90);
    Ok(outlook)
}

impl Outlook {
    /// Probability that the limit is reached within `seconds` of the last point.
    #[must_use]
    pub fn probability(&self, seconds: f64) -> f64 {
        if seconds <= 0.0 {
            0.0
        } else {
            normal(self.deviate(seconds))
        }
    }

    /// What the level grows by within `seconds` of the last point: one in ten less, as likely less as more, one in ten more.
    #[must_use]
    pub fn growth(&self, seconds: f64) -> [f64; 3] {
        let (middle, spread) = (self.slope * seconds, Z90 * self.spread(seconds));
        [middle - spread, middle, middle + spread]
    }

    /// How far the level is below the limit at the last point, as the trend has it.
    #[must_use]
    pub fn distance(&self) -> f64 {
        self.distance
    }

    fn deviate(&self, seconds: f64) -> f64 {
        (self.slope * seconds - self.distance) / self.spread(seconds).max(f64::MIN_POSITIVE)
    }

    /// Standard deviation of what is known of the level after so many seconds.
    fn spread(&self, seconds: f64) -> f64 {
        let walk = FEW * FEW * self.walk * seconds * (1.0 + seconds / self.window);
        let untold = UNTOLD * self.slope * seconds;
        (walk + untold * untold + self.noise * self.noise).sqrt()
    }

    /// The time by which the deviate is reached, if it ever is. The deviate grows with time, and towards a bound.
    fn quantile(&self, deviate: f64) -> Option<f64> {
        let (mut low, mut high) = (0.0, self.p50.max(1e-9));
        while self.deviate(high) < deviate {
            low = high;
            high *= 2.0;
            if high > 100.0 * self.p50 {
                return None;
            }
        }
        for _ in 0..60 {
            let middle = 0.5 * (low + high);
            if self.deviate(middle) < deviate {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(high)
    }
}

/// The points after the last great fall.
fn since_restart(points: &[Point]) -> &[Point] {
    let levels = points.iter().map(|point| point.level);
    let high = levels.clone().fold(f64::NEG_INFINITY, f64::max);
    let low = levels.fold(f64::INFINITY, f64::min);
    let fall = RESTART * (high - low);
    let restart = points
        .windows(2)
        .rposition(|pair| fall > 0.0 && pair[0].level - pair[1].level > fall);
    restart.map_or(points, |before| &points[before + 1..])
}

fn mean(points: &[Point]) -> f64 {
    points.iter().map(|point| point.level).sum::<f64>() / points.len().max(1) as f64
}

fn median(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    // The upper of the two middle values where their number is even: half a rank matters to nobody here.
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

fn theil_sen(points: &[Point]) -> f64 {
    let mut slopes = Vec::with_capacity(points.len() * (points.len() - 1) / 2);
    for (i, a) in points.iter().enumerate() {
        for b in &points[i + 1..] {
            if b.at > a.at {
                slopes.push((b.level - a.level) / (b.at - a.at));
            }
        }
    }
    median(&mut slopes)
}

/// Variance per second of the walk around the drift, from increments over `lag` points.
fn walk_variance(points: &[Point], slope: f64, lag: usize) -> f64 {
    let mut sum = 0.0;
    let mut count = 0.0;
    for (a, b) in points.iter().zip(&points[lag..]) {
        let span = b.at - a.at;
        let off = b.level - a.level - slope * span;
        sum += off * off / span.max(1e-9);
        count += 1.0;
    }
    // A level without any noise is a line drawn by a machine: as good as certain, but not quite.
    (sum / f64::max(count, 1.0)).max(1e-12 * slope)
}

/// Whether the last quarter still climbs at a fair share of the trend.
fn still_climbing(points: &[Point], slope: f64) -> bool {
    let quarter = points.len() / 4;
    let middle = |part: &[Point]| {
        let mut levels: Vec<f64> = part.iter().map(|point| point.level).collect();
        let at = part.iter().map(|point| point.at).sum::<f64>() / part.len() as f64;
        (at, median(&mut levels))
    };
    let last = &points[points.len() - quarter..];
    let (earlier, later) = last.split_at(quarter / 2);
    let ((at_before, before), (at_after, after)) = (middle(earlier), middle(later));
    after - before >= STILL_CLIMBING * slope * (at_after - at_before)
}

/// Whether the climb slows down so that, at this rate of slowing, it ends before the limit: each half window adds the
/// same share of what the half before it added, and the sum of that series is all that is to come.
fn levels_off(points: &[Point], distance: f64) -> bool {
    let (earlier, later) = points.split_at(points.len() / 2);
    let added = |half: &[Point]| theil_sen(half) * (half[half.len() - 1].at - half[0].at);
    let (before, now) = (added(earlier), added(later));
    let share = now / before;
    before > 0.0 && share < 1.0 && now * share / (1.0 - share) < distance
}

/// The level at the last point as the trend has it, and the usual deviation of a reading from the trend.
fn present(points: &[Point], slope: f64) -> (f64, f64) {
    let last = points[points.len() - 1].at;
    let recent = &points[points.len() - points.len() / 4..];
    let mut levels: Vec<f64> = recent
        .iter()
        .map(|point| point.level + slope * (last - point.at))
        .collect();
    let now = median(&mut levels);
    let mut deviations: Vec<f64> = levels.iter().map(|level| (level - now).abs()).collect();
    (now, 1.4826 * median(&mut deviations))
}

fn least_squares(points: &[Point], limit: f64) -> Option<f64> {
    let count = points.len() as f64;
    let last = points[points.len() - 1].at;
    let (at, level) = (
        points.iter().map(|p| p.at - last).sum::<f64>() / count,
        mean(points),
    );
    let covariance: f64 = points
        .iter()
        .map(|p| (p.at - last - at) * (p.level - level))
        .sum();
    let variance: f64 = points.iter().map(|p| (p.at - last - at).powi(2)).sum();
    let slope = covariance / variance.max(1e-12);
    let now = level - slope * at;
    (slope > 0.0).then(|| ((limit - now) / slope).max(0.0))
}

/// The standard normal distribution function (Abramowitz & Stegun 26.2.17; absolute error below 7.5e-8).
fn normal(z: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.231_641_9 * z.abs());
    let series = t
        * (0.319_381_530
            + t * (-0.356_563_782
                + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    let tail = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() * series;
    if z >= 0.0 { 1.0 - tail } else { tail }
}
