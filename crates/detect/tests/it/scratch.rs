use std::sync::Arc;
use forewarn_detect::*;
use forewarn_types::*;
fn load(name: &str) -> (i64, Arc<[Metric]>, Vec<(i64, Vec<Option<f64>>)>) {
    let text = std::fs::read_to_string(format!("/tmp/rec/{name}.csv")).unwrap();
    let mut lines = text.lines();
    let onset = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let metrics = lines.next().unwrap().split(' ').map(|m| { let p: Vec<&str> = m.split(':').collect(); let floor: f64 = p[1].parse().unwrap();
        let floor = if p[0] == "memory.page_faults" { std::env::var("PF").map_or(floor, |v| v.parse().unwrap()) } else { floor };
        Metric { direction: match p[2] { "Up" => Direction::Up, "Down" => Direction::Down, _ => Direction::Both }, ..Metric::new(p[0], floor) } }).collect();
    let rows = lines.map(|l| { let mut it = l.split(' '); (it.next().unwrap().parse().unwrap(), it.map(|x| x.parse().ok()).collect()) }).collect();
    (onset, metrics, rows)
}
#[test]
fn scratch() {
    let settings = Settings { budget: AlarmBudget::DEFAULT, consecutive: 2, learning_steps: 900 };
    for (kind, fam) in [("cpu_runaway", vec!["cpu.", "load.", "pressure.cpu"]), ("memory_leak", vec!["memory.", "swap.", "pressure.memory"]), ("disk_fill", vec!["filesystem.", "disk.", "pressure.io"])] {
        let (mut r30, mut e30, mut before) = (0, 0, 0);
        let mut best = vec![];
        for seed in 0..40 {
            let (onset, metrics, rows) = load(&format!("{kind}-{seed}"));
            let mut d = EwmaResidual::new(settings, metrics.clone(), StepLength::SECOND);
            let (mut r, mut e, mut m, mut ms) = (None, None, 0.0f64, (0.0f64, String::new()));
            for (end, values) in &rows {
                let v = d.observe(&Step { end: EventTime(*end), values });
                let after = end - onset;
                if let Verdict::Scored(s) = v {
                    if after <= 0 { before += u32::from(s.score > 1.0 || !s.metrics.is_empty()); continue; }
                    if after > 31_000 { break; }
                    let f = |i: usize| fam.iter().any(|f| metrics[i].name.starts_with(f));
                    if s.score > 1.0 && s.parts.iter().take(3).any(|p| f(p.metric)) { r.get_or_insert(after); e.get_or_insert(after); }
                    if s.metrics.iter().any(|p| f(p.metric)) { e.get_or_insert(after); }
                    m = m.max(s.score); if let Some(x) = s.metrics.first() { if x.score > ms.0 { ms = (x.score, metrics[x.metric].name.clone()); } }
                }
            }
            r30 += u32::from(r.is_some()); e30 += u32::from(e.is_some());
            best.push(format!("{m:.2}/{:.2}{}", ms.0, ms.1));
        }
        println!("RES {kind}: resource {r30}/40 either {e30}/40 steps flagged before {before}  {}", best.iter().take(std::env::var("N").map_or(20, |v| v.parse().unwrap())).cloned().collect::<Vec<_>>().join(" "));
    }
    let (mut flagged, mut eps) = (0, 0);
    for seed in 0..8 {
        let (_, metrics, rows) = load(&format!("quiet-{seed}"));
        let mut d = EwmaResidual::new(settings, metrics.clone(), StepLength::SECOND);
        let mut last = 0;
        for (end, values) in &rows { if let Verdict::Scored(s) = d.observe(&Step { end: EventTime(*end), values }) { if s.score > 1.0 || !s.metrics.is_empty() { flagged += 1; if end - last > 300_000 { eps += 1; if std::env::var_os("WHO").is_some() { println!("quiet {seed} at {} {:.2} {:?} {:?}", (end - rows[0].0) / 1000, s.score, s.parts.iter().take(3).map(|p| (metrics[p.metric].name.clone(), p.value, p.expected)).collect::<Vec<_>>(), s.metrics.iter().map(|p| (metrics[p.metric].name.clone(), p.score)).collect::<Vec<_>>()); } } last = *end; } } }
    }
    println!("RES quiet 48 h: {flagged} steps {eps} episodes");
}
