//! A simulator: worlds of two programs, their connections, a clock and a carrier with faults, made from a seed
//! (docs/architecture.md, "Simulator"). The same seed gives the same world, step for step.

mod acts;
mod ledger;
mod payload;
mod plan;
mod rng;
mod side;
mod told;
mod wire;
mod world;

use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use world::{Tally, World};

/// Runs the world of `seed`.
fn run(seed: u64, trace: bool) -> Tally {
    let mut world = World::new(seed, trace);
    world.run();
    world.tally
}

/// Seeds of every test run.
const SEEDS: u64 = 400;
/// Failures after which a long run ends early.
const MOST_FAILURES: usize = 20;

#[test]
fn worlds() {
    for seed in 0..SEEDS {
        if let Err(panic) = catch_unwind(|| run(seed, false)) {
            eprintln!("the seed is {seed}: cargo xtask simulate --seed {seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The command `cargo xtask simulate`, which says what to run in the environment.
#[test]
#[ignore = "started by cargo xtask simulate"]
fn long() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("HOSTLANE_SIMULATE_SEED") {
        let tally = run(seed, true);
        return eprintln!("nothing was found in the world of seed {seed}: {tally:?}");
    }
    let (from, count) =
        (number("HOSTLANE_SIMULATE_FROM").unwrap_or(0), number("HOSTLANE_SIMULATE_SEEDS").unwrap_or(SEEDS));
    let time = number("HOSTLANE_SIMULATE_SECONDS").map(Duration::from_secs);
    let start = Instant::now();
    let (mut all, mut worlds) = (Tally::default(), 0);
    let mut failed = Vec::new();
    for seed in from..from.saturating_add(count) {
        if time.is_some_and(|time| start.elapsed() >= time) {
            break;
        }
        worlds += 1;
        match catch_unwind(|| run(seed, false)) {
            Ok(tally) => all += tally,
            Err(_) => {
                eprintln!("the seed is {seed}: cargo xtask simulate --seed {seed}\n");
                failed.push(seed);
                if failed.len() >= MOST_FAILURES {
                    break;
                }
            }
        }
    }
    let took = start.elapsed().as_secs_f64();
    println!("{worlds} worlds from seed {from}, {} failed, {took:.1} s: {all:?}", failed.len());
    assert!(failed.is_empty(), "failed seeds: {failed:?}");
}
