//! The plan of faults: which comes when and for how long, fixed by the seed before the run.

use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// When one kind of fault comes.
#[derive(Debug, Clone, Default)]
pub struct Schedule {
    /// Again and again: middle and spread of the time between two.
    pub every: Option<(Duration, Duration)>,
    /// At these times.
    pub at: Vec<Duration>,
    /// Middle and spread of how long each lasts.
    pub lasts: (Duration, Duration),
    /// The probability that it comes when it is due.
    pub chance: f64,
    /// At most so many.
    pub times: u32,
}

/// A fault that is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which schedule it is from.
    pub entry: usize,
    /// When it comes, from the start of the faults' part of the run.
    pub at: Duration,
    /// When it ends.
    pub until: Duration,
    /// Fixes the choice of its targets.
    pub seed: u64,
}

/// Plans all faults of a run that lasts so long, at most `at_once` at a time.
///
/// What has a time of its own (`at`) comes then, or not at all. What comes every so often waits
/// until it is its turn, and counts its next time from there: no kind is crowded out by another.
pub fn plan(schedules: &[Schedule], lasts: Duration, at_once: usize, seed: u64) -> Vec<Due> {
    let mut turns: Vec<Turns<'_>> = schedules
        .iter()
        .enumerate()
        .map(|(entry, schedule)| Turns::new(entry, schedule, seed))
        .collect();
    let mut planned = Vec::new();
    for turn in &mut turns {
        for at in turn.schedule.at.clone() {
            turn.take(at, lasts, at_once, &mut planned, false);
        }
    }
    while let Some(turn) = turns
        .iter_mut()
        .filter(|turn| turn.next < lasts)
        .min_by_key(|turn| turn.next)
    {
        let at = turn.next;
        turn.take(at, lasts, at_once, &mut planned, true);
    }
    planned.sort_by_key(|due| (due.at, due.entry));
    planned
}

/// One schedule while it is being planned.
struct Turns<'a> {
    entry: usize,
    schedule: &'a Schedule,
    random: ChaCha8Rng,
    /// When its next turn is due; never, past the last.
    next: Duration,
    come: u32,
}

impl<'a> Turns<'a> {
    fn new(entry: usize, schedule: &'a Schedule, seed: u64) -> Turns<'a> {
        let mut random = super::random(seed, "faults", entry as u64);
        // The first comes after a part of the usual wait, so that not all kinds begin together.
        let next = schedule.every.map_or(Duration::MAX, |every| {
            vary(every, &mut random).mul_f64(random.random_range(0.2..=1.0))
        });
        Turns {
            entry,
            schedule,
            random,
            next,
            come: 0,
        }
    }

    /// Plans the turn that is due at this time, perhaps later, perhaps not at all.
    fn take(
        &mut self,
        due: Duration,
        lasts: Duration,
        at_once: usize,
        planned: &mut Vec<Due>,
        may_wait: bool,
    ) {
        let holds = vary(self.schedule.lasts, &mut self.random);
        let seed = self.random.random();
        let comes = self.schedule.chance >= 1.0 || self.random.random_bool(self.schedule.chance);
        let mut at = due;
        while let Some(free) = busy_until(planned, at, at + holds, at_once) {
            at = if may_wait { free } else { Duration::MAX };
        }
        if let Some(every) = self.schedule.every.filter(|_| may_wait) {
            let wait = vary(every, &mut self.random).max(Duration::from_millis(1));
            self.next = at.saturating_add(wait);
        }
        if comes && self.come < self.schedule.times && at < lasts {
            self.come += 1;
            planned.push(Due {
                entry: self.entry,
                at,
                until: (at + holds).min(lasts),
                seed,
            });
        }
    }
}

/// When the first of those ends that leave no room for one more in this time; none if there is room.
fn busy_until(planned: &[Due], from: Duration, to: Duration, at_once: usize) -> Option<Duration> {
    let mut met: Vec<Duration> = planned
        .iter()
        .filter(|p| p.at < to && from < p.until)
        .map(|p| p.until)
        .collect();
    met.sort_unstable();
    (met.len() >= at_once).then(|| met[0])
}

fn vary((middle, spread): (Duration, Duration), random: &mut ChaCha8Rng) -> Duration {
    if spread.is_zero() {
        return middle;
    }
    random.random_range(middle.saturating_sub(spread)..=middle + spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn every(middle: u64, lasts: u64) -> Schedule {
        Schedule {
            every: Some((seconds(middle), seconds(middle / 2))),
            lasts: (seconds(lasts), Duration::ZERO),
            chance: 1.0,
            times: u32::MAX,
            ..Schedule::default()
        }
    }

    #[test]
    fn one_seed_gives_one_plan_and_another_seed_another() {
        let schedules = [every(10, 4), every(8, 3)];
        let plan = |seed| super::plan(&schedules, seconds(120), 1, seed);
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1), plan(2));
    }

    #[test]
    fn never_more_hold_than_may_and_none_outlives_the_run() {
        for seed in 0..50 {
            let schedules = [every(3, 4), every(2, 3), every(5, 5)];
            let plan = plan(&schedules, seconds(60), 2, seed);
            for due in &plan {
                let held = plan
                    .iter()
                    .filter(|p| p.at <= due.at && due.at < p.until)
                    .count();
                assert!(held <= 2, "seed {seed}: {plan:?}");
                assert!(due.until <= seconds(60));
            }
        }
    }

    #[test]
    fn every_kind_gets_its_turn() {
        for seed in 0..50 {
            let plan = plan(
                &[every(7, 2), every(7, 2), every(7, 3)],
                seconds(20),
                1,
                seed,
            );
            for entry in 0..3 {
                assert!(
                    plan.iter().any(|due| due.entry == entry),
                    "seed {seed}: {plan:?}"
                );
            }
        }
    }

    #[test]
    fn a_scripted_fault_comes_when_it_says_though_others_would_be_in_its_way() {
        let scripted = Schedule {
            at: vec![seconds(10)],
            lasts: (seconds(5), Duration::ZERO),
            ..every(1, 1)
        };
        let scripted = Schedule {
            every: None,
            ..scripted
        };
        for seed in 0..50 {
            let plan = plan(&[every(4, 4), scripted.clone()], seconds(30), 1, seed);
            assert!(
                plan.iter()
                    .any(|due| due.entry == 1 && due.at == seconds(10)),
                "seed {seed}"
            );
        }
    }
}
