//! Quiet and awake: false episodes come at the budget's rate, and steps of eight sigma are found in the same run.
use std::sync::Arc;

use forewarn_detect::{AlarmBudget, Detector, EwmaResidual, Metric, Settings, Step, Verdict};
use forewarn_types::{EventTime, StepLength};

use crate::noise::{Kind, Series};

const KINDS: [Kind; 10] = [
    Kind::Normal, Kind::Normal, Kind::Correlated(0.5), Kind::Correlated(0.9), Kind::Correlated(0.98),
    Kind::HeavyTailed, Kind::HeavyTailed, Kind::Daily(3.0), Kind::Bursts, Kind::Quantised,
];

#[derive(Default, Debug)]
struct Count { any: u32, resource: u32, metrics: u32, found: u32, injected: u32, found_resource: u32, judged: f64 }

struct Episode { last: Option<i64>, count: u32 }
impl Episode {
    fn flag(&mut self, end: i64) { if self.last.is_none_or(|l| end - l > 300_000) { self.count += 1; } self.last = Some(end); }
}

fn run(kinds: &[Kind], seed: u64, step: u32, weeks: f64, budget: f64, inject: bool, by: &mut Vec<u32>) -> Count {
    let step = StepLength::from_millis(step).unwrap();
    let metrics: Arc<[Metric]> = kinds.iter().enumerate().map(|(i, _)| Metric::new(format!("m{i}"), 0.5)).collect();
    let settings = Settings { budget: AlarmBudget::new(budget).unwrap(), consecutive: 2, learning_steps: 900 };
    let mut detector = EwmaResidual::new(settings, metrics, step);
    let mut series: Vec<Series> = kinds.iter().enumerate().map(|(i, k)| Series::new(*k, seed, i as u64, step.millis() as u32)).collect();
    let steps = (weeks * 7.0 * 86_400_000.0 / step.millis() as f64) as i64;
    let mut out = Count::default();
    let mut eps = [Episode{last:None,count:0}, Episode{last:None,count:0}, Episode{last:None,count:0}];
    let skip = std::env::var("SKIP").map_or(0.0, |v| v.parse().unwrap()) * steps as f64;
    let gap = steps / 40; // between injections
    let mut shift_left = 0; let mut shift_metric = 0; let mut found=false; let mut found_r=false; let mut quiet_until = 0;
    let mut last_metric = vec![i64::MIN/2; kinds.len()];
    for i in 0..steps {
        let mut values: Vec<Option<f64>> = series.iter_mut().map(|s| Some(s.next())).collect();
        if inject && i > steps / 8 && i % gap == 0 {
            shift_left = 6; shift_metric = (i / gap) as usize % 8.min(kinds.len()); found=false; found_r=false; out.injected += 1;
        }
        if shift_left > 0 { *values[shift_metric].as_mut().unwrap() += 8.0; }
        let end = EventTime((i + 1) * step.millis());
        let v = detector.observe(&Step { end, values: &values });
        if std::env::var_os("DBG").is_some() && (shift_left > 0 || i % 60000 == 59999) { println!("DBG {i} m{shift_metric} {:?} {}", if let Verdict::Scored(s) = &v { (s.score, s.metrics.first().map(|m| m.score)) } else { (0.0, None) }, detector.show().chars().take(700).collect::<String>()); }
        if let Verdict::Scored(s) = v {
            let r = s.score > 1.0; let m = !s.metrics.is_empty();
            if shift_left > 0 {
                found |= r || m; found_r |= r;
                quiet_until = end.0 + 1_800_000;
            } else if end.0 > quiet_until && i as f64 > skip {
                out.judged += step.millis() as f64 / 604_800_000.0;
                if r || m { eps[0].flag(end.0); }
                if r { eps[1].flag(end.0); }
                if m { eps[2].flag(end.0); for x in &s.metrics { if end.0 - last_metric[x.metric] > 300_000 { by[x.metric] += 1; } last_metric[x.metric] = end.0; } }
            }
        }
        if shift_left > 0 { shift_left -= 1; if shift_left == 0 { out.found += u32::from(found); out.found_resource += u32::from(found_r); } }
    }
    if std::env::var_os("SHOW").is_some() { println!("{}", detector.show()); }
    out.any = eps[0].count; out.resource = eps[1].count; out.metrics = eps[2].count;
    out
}

#[test]
fn explore() {
    for (name, kinds) in [("normal", vec![Kind::Normal; 10]), ("heavy", vec![Kind::HeavyTailed; 10]), ("ar", vec![Kind::Correlated(0.95); 10]), ("mixed", KINDS.to_vec()), ("one", vec![Kind::Normal]), ("three", vec![Kind::Normal, Kind::HeavyTailed, Kind::Correlated(0.9)])].into_iter().filter(|(n,_)| std::env::var("ONLY").map_or(true, |o| o == *n)) {
        for (step, weeks, budget, n) in [(60_000, 6.0, 1.0, if std::env::var_os("W1").is_some() {0} else {10}), (60_000, 4.0, 20.0, 3), (1_000, std::env::var("W1").map_or(0.5, |v| v.parse().unwrap()), 100.0, 2)] {
            let mut t = Count::default();
            let mut by = vec![0; kinds.len()];
            for seed in 0..n {
                let c = run(&kinds, 100 + seed, step, weeks, budget, std::env::var_os("NOINJ").is_none(), &mut by);
                t.judged += c.judged; t.any += c.any; t.resource += c.resource; t.metrics += c.metrics; t.found += c.found; t.injected += c.injected; t.found_resource += c.found_resource;
            }
            let expect = budget * t.judged;
            println!("RES {name:7} step {step:6} budget {budget:5} expected {expect:6.0}: any {:.2} resource {:.2} metrics {:.2}  found {}/{} (resource {}) {by:?}",
                t.any as f64 / expect, 2.0 * t.resource as f64 / expect, 2.0 * t.metrics as f64 / expect, t.found, t.injected, t.found_resource);
        }
    }
}
