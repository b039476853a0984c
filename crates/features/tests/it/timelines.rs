//! Step closing as timelines: each line is a batch, and behind the arrow stand the vectors that it brought about.

use expect_test::{Expect, expect};

use crate::world::{SMALL, World};

type Batch<'a> = &'a [(&'a str, i64, f64)];

fn play(world: &mut World, batches: &[Batch<'_>], expect: &Expect) {
    let lines: Vec<String> = batches.iter().map(|batch| world.send(batch)).collect();
    expect.assert_eq(&(lines.join("\n") + "\n"));
}

fn small() -> World {
    World::new(SMALL)
}

#[test]
fn once_the_series_are_known_a_step_closes_with_the_last_of_them() {
    play(
        &mut small(),
        &[
            &[("a", 100, 1.0), ("b", 100, 10.0)],
            &[("a", 1_100, 2.0), ("b", 1_100, 20.0)],
            &[("a", 2_100, 3.0), ("b", 2_100, 30.0)],
            &[("a", 3_100, 4.0)],
            &[("b", 3_900, 40.0)],
        ],
        &expect![[r#"
            a@100=1 b@100=10 ->
            a@1100=2 b@1100=20 ->
            a@2100=3 b@2100=30 -> [1000 a=1 b=10] [2000 a=2 b=20] [3000 a=3 b=30]
            a@3100=4 ->
            b@3900=40 -> [4000 a=4 b=40]
        "#]],
    );
}

#[test]
fn a_missing_series_is_waited_for_one_step_and_is_missed_for_five() {
    let all = |t: i64| [("a", t, 1.0), ("b", t, 2.0)];
    play(
        &mut small(),
        &[
            &all(0),
            &all(1_000),
            &all(2_000),
            &[("a", 3_000, 3.0)],
            &[("a", 4_000, 4.0)],
            &[("a", 5_000, 5.0)],
            &[("a", 6_000, 6.0)],
            &[("a", 7_000, 7.0)],
            &[("a", 8_000, 8.0)],
            &[("a", 9_000, 9.0)],
            &[("a", 10_000, 10.0)],
            &all(11_000),
        ],
        &expect![[r#"
            a@0=1 b@0=2 ->
            a@1000=1 b@1000=2 ->
            a@2000=1 b@2000=2 -> [1000 a=1 b=2] [2000 a=1 b=2] [3000 a=1 b=2]
            a@3000=3 ->
            a@4000=4 ->
            a@5000=5 -> [4000 a=3 b=- incomplete]
            a@6000=6 -> [5000 a=4 b=- incomplete]
            a@7000=7 -> [6000 a=5 b=- incomplete]
            a@8000=8 -> [7000 a=6 b=- incomplete]
            a@9000=9 -> [8000 a=7 b=- incomplete] [9000 a=8 b=-] [10000 a=9 b=-]
            a@10000=10 -> [11000 a=10 b=-]
            a@11000=1 b@11000=2 -> [12000 a=1 b=2]
        "#]],
    );
}

#[test]
fn a_missing_step_is_a_gap_that_holds_up_the_next_one_until_its_deadline() {
    let mut world = small();
    world.features = vec!["a.value", "a.lag_1", "a.mean_3"];
    play(
        &mut world,
        &[
            &[("a", 0, 1.0)],
            &[("a", 1_000, 2.0)],
            &[("a", 2_000, 3.0)],
            &[("a", 4_000, 5.0)],
            &[("a", 5_000, 6.0)],
            &[("a", 6_000, 7.0)],
            &[("a", 60_000, 60.0)],
            &[("a", 61_000, 61.0)],
        ],
        &expect![[r#"
            a@0=1 ->
            a@1000=2 ->
            a@2000=3 -> [1000 a=1 a.lag_1=- a.mean_3=-] [2000 a=2 a.lag_1=1 a.mean_3=1.5] [3000 a=3 a.lag_1=2 a.mean_3=2]
            a@4000=5 ->
            a@5000=6 -> [5000 a=5 a.lag_1=- a.mean_3=4] [6000 a=6 a.lag_1=5 a.mean_3=5.5]
            a@6000=7 -> [7000 a=7 a.lag_1=6 a.mean_3=6]
            a@60000=60 ->
            a@61000=61 -> [61000 a=60 a.lag_1=- a.mean_3=-] [62000 a=61 a.lag_1=60 a.mean_3=60.5]
        "#]],
    );
}

#[test]
fn samples_in_another_order_within_the_delay_give_the_same_vectors() {
    let mut world = small();
    world.features = vec!["a.value", "a.lag_1", "a.mean_3"];
    play(
        &mut world,
        &[
            &[("a", 0, 1.0)],
            &[("a", 1_000, 2.0)],
            &[("a", 2_000, 3.0)],
            &[("a", 4_000, 5.0)],
            &[("a", 3_000, 4.0)],
            &[("a", 5_000, 6.0)],
        ],
        &expect![[r#"
            a@0=1 ->
            a@1000=2 ->
            a@2000=3 -> [1000 a=1 a.lag_1=- a.mean_3=-] [2000 a=2 a.lag_1=1 a.mean_3=1.5] [3000 a=3 a.lag_1=2 a.mean_3=2]
            a@4000=5 ->
            a@3000=4 -> [4000 a=4 a.lag_1=3 a.mean_3=3] [5000 a=5 a.lag_1=4 a.mean_3=4]
            a@5000=6 -> [6000 a=6 a.lag_1=5 a.mean_3=5]
        "#]],
    );
}

#[test]
fn a_late_sample_is_counted_and_enters_later_windows() {
    let mut world = small();
    world.features = vec!["a.value", "a.lag_1", "a.mean_3"];
    play(
        &mut world,
        &[
            &[("a", 0, 1.0)],
            &[("a", 1_000, 2.0)],
            &[("a", 2_000, 3.0)],
            &[("a", 4_000, 5.0)],
            &[("a", 5_000, 6.0)],
            &[("a", 3_000, 4.0)],
            &[("a", 6_000, 7.0)],
            &[("a", 5_000, 6.0)],
            &[("a", 5_000, 9.0)],
            &[("a", 7_000, 8.0)],
        ],
        &expect![[r#"
            a@0=1 ->
            a@1000=2 ->
            a@2000=3 -> [1000 a=1 a.lag_1=- a.mean_3=-] [2000 a=2 a.lag_1=1 a.mean_3=1.5] [3000 a=3 a.lag_1=2 a.mean_3=2]
            a@4000=5 ->
            a@5000=6 -> [5000 a=5 a.lag_1=- a.mean_3=4] [6000 a=6 a.lag_1=5 a.mean_3=5.5]
            a@3000=4 ->
            a@6000=7 -> [7000 a=7 a.lag_1=6 a.mean_3=6 late=1]
            a@5000=6 ->
            a@5000=9 ->
            a@7000=8 -> [8000 a=8 a.lag_1=7 a.mean_3=7]
        "#]],
    );
    assert_eq!(
        (
            world.engine.counts.late,
            world.engine.counts.duplicates,
            world.engine.counts.conflicting
        ),
        (1, 1, 1)
    );
}

#[test]
fn a_series_that_always_comes_second_is_waited_for() {
    play(
        &mut small(),
        &[
            &[("a", 0, 1.0)],
            &[("a", 1_000, 2.0)],
            &[("a", 2_000, 3.0)],
            &[("b", 2_000, 30.0)],
            &[("a", 3_000, 4.0)],
            &[("b", 3_000, 40.0)],
            &[("a", 4_000, 5.0)],
            &[("b", 4_000, 50.0)],
        ],
        &expect![[r#"
            a@0=1 ->
            a@1000=2 ->
            a@2000=3 -> [1000 a=1 b=-] [2000 a=2 b=-] [3000 a=3 b=-]
            b@2000=30 ->
            a@3000=4 ->
            b@3000=40 -> [4000 a=4 b=40 late=1]
            a@4000=5 ->
            b@4000=50 -> [5000 a=5 b=50]
        "#]],
    );
}

#[test]
fn of_several_samples_in_a_step_the_last_in_event_time_counts_and_the_last_of_equals() {
    let mut world = small();
    play(
        &mut world,
        &[
            &[("a", 0, 1.0), ("b", 0, 1.0)],
            &[
                ("a", 1_800, 3.0),
                ("a", 1_200, 2.0),
                ("a", 1_800, 4.0),
                ("a", 1_800, 4.0),
            ],
            &[("a", 2_000, 1.0)],
        ],
        &expect![[r#"
            a@0=1 b@0=1 ->
            a@1800=3 a@1200=2 a@1800=4 a@1800=4 ->
            a@2000=1 -> [1000 a=1 b=1]
        "#]],
    );
    assert_eq!(
        (
            world.engine.counts.duplicates,
            world.engine.counts.conflicting
        ),
        (1, 1)
    );
}

#[test]
fn rates_use_the_exact_time_between_samples_and_know_restarts() {
    let mut world = small();
    world.features = vec!["c.value"];
    play(
        &mut world,
        &[
            &[("c", 0, 100.0)],
            &[("c", 1_500, 130.0)],
            &[("c", 2_000, 140.0)],
            &[("c", 3_000, 5.0)],
            &[("c", 4_000, 7.0)],
            // Within five intervals the rate is that of the whole time, beyond it is unknown.
            &[("c", 8_000, 15.0)],
            &[("c", 9_000, 16.0)],
            &[("c", 20_000, 20.0)],
            &[("c", 21_000, 22.0)],
        ],
        &expect![[r#"
            c@0=100 ->
            c@1500=130 ->
            c@2000=140 -> [1000 c=-] [2000 c=20] [3000 c=20]
            c@3000=5 -> [4000 c=5]
            c@4000=7 -> [5000 c=2]
            c@8000=15 ->
            c@9000=16 -> [9000 c=2] [10000 c=1]
            c@20000=20 ->
            c@21000=22 -> [21000 c=-] [22000 c=2]
        "#]],
    );
}

#[test]
fn a_late_counter_sample_puts_both_rates_right() {
    let mut world = small();
    world.features = vec!["c.value", "a.value"];
    let both = |t: i64, c: f64| [("c", t, c), ("a", t, 0.0)];
    let lines: Vec<String> = [
        world.send(&both(0, 0.0)),
        world.send(&both(1_000, 10.0)),
        world.send(&both(2_000, 20.0)),
        world.send(&[("a", 3_000, 0.0)]),
        world.send(&both(4_000, 60.0)),
        world.send(&both(5_000, 70.0)),
        world.send(&[("c", 3_000, 30.0)]),
        world.send(&both(6_000, 80.0)),
    ]
    .into();
    expect![[r#"
        c@0=0 a@0=0 ->
        c@1000=10 a@1000=0 ->
        c@2000=20 a@2000=0 -> [1000 c=- a=0] [2000 c=10 a=0] [3000 c=10 a=0]
        a@3000=0 ->
        c@4000=60 a@4000=0 ->
        c@5000=70 a@5000=0 -> [4000 c=- a=0 incomplete] [5000 c=20 a=0] [6000 c=10 a=0]
        c@3000=30 ->
        c@6000=80 a@6000=0 -> [7000 c=10 a=0 late=1]
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn a_sum_over_devices_is_unknown_while_one_of_them_is_missing() {
    let mut world = small();
    world.features = vec!["c.value"];
    let all = |t: i64, v: f64| [("c{d1}", t, v), ("c{d2}", t, 10.0 * v)];
    play(
        &mut world,
        &[
            &all(0, 0.0),
            &all(1_000, 1.0),
            &all(2_000, 2.0),
            &[("c{d1}", 3_000, 3.0)],
            &all(4_000, 4.0),
            &all(5_000, 5.0),
            // A new device has no rate yet and adds nothing.
            &[
                ("c{d1}", 6_000, 6.0),
                ("c{d2}", 6_000, 60.0),
                ("c{d3}", 6_000, 1e9),
            ],
            &[
                ("c{d1}", 7_000, 7.0),
                ("c{d2}", 7_000, 70.0),
                ("c{d3}", 7_000, 1e9 + 100.0),
            ],
        ],
        &expect![[r#"
            c{d1}@0=0 c{d2}@0=0 ->
            c{d1}@1000=1 c{d2}@1000=10 ->
            c{d1}@2000=2 c{d2}@2000=20 -> [1000 c=-] [2000 c=11] [3000 c=11]
            c{d1}@3000=3 ->
            c{d1}@4000=4 c{d2}@4000=40 ->
            c{d1}@5000=5 c{d2}@5000=50 -> [4000 c=- incomplete] [5000 c=11] [6000 c=11]
            c{d1}@6000=6 c{d2}@6000=60 c{d3}@6000=1000000000 -> [7000 c=11]
            c{d1}@7000=7 c{d2}@7000=70 c{d3}@7000=1000000100 -> [8000 c=111]
        "#]],
    );
}

#[test]
fn a_slower_series_is_carried_with_its_age_for_two_of_its_intervals() {
    let mut world = small();
    world.features = vec!["b.value", "a.value", "a.age"];
    let mut lines = vec![world.send(&[("b", 0, 0.0)])];
    for second in 1..12 {
        lines.push(world.send(&[("b", second * 1_000, second as f64)]));
        if second == 2 {
            (world.interval, world.source) = (4_000, "push");
            lines.push(world.send(&[("a", 2_500, 7.0)]));
            (world.interval, world.source) = (1_000, "host");
        }
    }
    expect![[r#"
        b@0=0 ->
        b@1000=1 ->
        b@2000=2 -> [1000 b=0 a=- a.age=-] [2000 b=1 a=- a.age=-] [3000 b=2 a=- a.age=-]
        a@2500=7 ->
        b@3000=3 -> [4000 b=3 a=7 a.age=1.5]
        b@4000=4 -> [5000 b=4 a=7 a.age=2.5]
        b@5000=5 -> [6000 b=5 a=7 a.age=3.5]
        b@6000=6 -> [7000 b=6 a=7 a.age=4.5]
        b@7000=7 -> [8000 b=7 a=7 a.age=5.5]
        b@8000=8 -> [9000 b=8 a=7 a.age=6.5]
        b@9000=9 -> [10000 b=9 a=7 a.age=7.5]
        b@10000=10 -> [11000 b=10 a=- a.age=-]
        b@11000=11 -> [12000 b=11 a=- a.age=-]
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn pushed_samples_are_waited_for_thirty_seconds() {
    let mut world = small();
    (world.interval, world.source) = (10_000, "push");
    let both = |t: i64| [("a", t, 1.0), ("b", t, 2.0)];
    play(
        &mut world,
        &[
            &both(0),
            &both(10_000),
            &both(30_000),
            &both(40_000),
            &both(50_000),
            &[("a", 60_000, 3.0)],
            &both(70_000),
            &both(80_000),
            &[("b", 60_000, 4.0)],
            &[("a", 90_000, 3.0)],
            &both(100_000),
            &both(110_000),
            &both(120_000),
        ],
        &expect![[r#"
            a@0=1 b@0=2 ->
            a@10000=1 b@10000=2 ->
            a@30000=1 b@30000=2 ->
            a@40000=1 b@40000=2 -> [10000/10000 a=1 b=2] [20000/10000 a=1 b=2]
            a@50000=1 b@50000=2 ->
            a@60000=3 -> [40000/10000 a=1 b=2] [50000/10000 a=1 b=2] [60000/10000 a=1 b=2]
            a@70000=1 b@70000=2 ->
            a@80000=1 b@80000=2 ->
            b@60000=4 -> [70000/10000 a=3 b=4] [80000/10000 a=1 b=2] [90000/10000 a=1 b=2]
            a@90000=3 ->
            a@100000=1 b@100000=2 ->
            a@110000=1 b@110000=2 ->
            a@120000=1 b@120000=2 ->
        "#]],
    );
}

#[test]
fn the_step_follows_the_fastest_source_that_is_alive() {
    let mut world = small();
    let mut lines = Vec::new();
    (world.interval, world.source) = (5_000, "host");
    for t in [0, 5_000, 10_000] {
        lines.push(world.send(&[("a", t, 1.0)]));
    }
    world.interval = 1_000;
    for t in [12_000, 13_000, 14_000, 15_000] {
        lines.push(world.send(&[("b", t, 2.0)]));
    }
    world.interval = 5_000;
    for t in [
        15_000, 20_000, 25_000, 30_000, 35_000, 40_000, 45_000, 50_000, 55_000, 60_000,
    ] {
        lines.push(world.send(&[("a", t, 3.0)]));
    }
    expect![[r#"
        a@0=1 ->
        a@5000=1 ->
        a@10000=1 -> [5000/5000 a=1 b=-] [10000/5000 a=1 b=-] [15000/5000 a=1 b=-]
        b@12000=2 ->
        b@13000=2 ->
        b@14000=2 ->
        b@15000=2 -> [16000 a=1 b=2 late=3]
        a@15000=3 ->
        a@20000=3 ->
        a@25000=3 -> [21000 a=3 b=- incomplete]
        a@30000=3 -> [26000 a=3 b=- incomplete]
        a@35000=3 -> [31000 a=3 b=- incomplete]
        a@40000=3 -> [36000 a=3 b=- incomplete]
        a@45000=3 -> [41000 a=3 b=- incomplete]
        a@50000=3 -> [50000/5000 a=3 b=-] [55000/5000 a=3 b=-]
        a@55000=3 -> [60000/5000 a=3 b=-]
        a@60000=3 -> [65000/5000 a=3 b=-]
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
}

#[test]
fn a_clock_that_jumps_ahead_and_back_is_late_until_it_is_taken_back() {
    let mut world = small();
    let mut lines = Vec::new();
    for t in 0..4 {
        lines.push(world.send(&[("a", t * 1_000, t as f64)]));
    }
    for t in [500, 501, 502] {
        lines.push(world.send(&[("a", t * 1_000, t as f64)]));
    }
    for (second, log_time) in [
        (4, 10),
        (5, 100),
        (6, 309),
        (7, 310),
        (8, 311),
        (9, 312),
        (10, 313),
    ] {
        world.log_time = log_time * 1_000;
        lines.push(world.send(&[("a", second * 1_000, second as f64)]));
    }
    // Later on the time comes to the steps that had their vector during the jump.
    for t in 499..505 {
        lines.push(world.send(&[("a", t * 1_000, t as f64)]));
    }
    expect![[r#"
        a@0=0 ->
        a@1000=1 ->
        a@2000=2 -> [1000 a=0 b=-] [2000 a=1 b=-] [3000 a=2 b=-]
        a@3000=3 -> [4000 a=3 b=-]
        a@500000=500 ->
        a@501000=501 -> [501000 a=500 b=-] [502000 a=501 b=-]
        a@502000=502 -> [503000 a=502 b=-]
        a@4000=4 ->
        a@5000=5 ->
        a@6000=6 ->
        a@7000=7 ->
        a@8000=8 ->
        a@9000=9 -> [8000 a=7 b=- late=3] [9000 a=8 b=-] [10000 a=9 b=-]
        a@10000=10 -> [11000 a=10 b=-]
        a@499000=499 ->
        a@500000=500 -> [500000 a=499 b=-]
        a@501000=501 ->
        a@502000=502 ->
        a@503000=503 -> [504000 a=503 b=- late=3]
        a@504000=504 -> [505000 a=504 b=-]
    "#]]
    .assert_eq(&(lines.join("\n") + "\n"));
    assert_eq!(world.engine.counts.reanchored, 1);
}

#[test]
fn a_single_sample_from_the_future_delays_nobody() {
    play(
        &mut small(),
        &[
            &[("a", 0, 0.0)],
            &[("a", 1_000, 1.0)],
            &[("a", 2_000, 2.0)],
            &[("a", 600_000, 600.0)],
            &[("a", 3_000, 3.0)],
            &[("a", 4_000, 4.0)],
            &[("a", 5_000, 5.0)],
        ],
        &expect![[r#"
            a@0=0 ->
            a@1000=1 ->
            a@2000=2 -> [1000 a=0 b=-] [2000 a=1 b=-] [3000 a=2 b=-]
            a@600000=600 ->
            a@3000=3 -> [4000 a=3 b=-]
            a@4000=4 -> [5000 a=4 b=-]
            a@5000=5 -> [6000 a=5 b=-]
        "#]],
    );
}

#[test]
fn a_year_without_samples_is_one_gap() {
    let year = 365 * 86_400_000;
    play(
        &mut small(),
        &[
            &[("a", 0, 0.0)],
            &[("a", 1_000, 1.0)],
            &[("a", 2_000, 2.0)],
            &[("a", year, 3.0)],
            &[("a", year + 1_000, 4.0)],
            &[("a", year + 2_000, 5.0)],
        ],
        &expect![[r#"
            a@0=0 ->
            a@1000=1 ->
            a@2000=2 -> [1000 a=0 b=-] [2000 a=1 b=-] [3000 a=2 b=-]
            a@31536000000=3 ->
            a@31536001000=4 -> [31536001000 a=3 b=-] [31536002000 a=4 b=-]
            a@31536002000=5 -> [31536003000 a=5 b=-]
        "#]],
    );
}
