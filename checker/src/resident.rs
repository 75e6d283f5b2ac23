//! What the process has grown by, as the system tells it: the bound behind what the engines count.
//!
//! No engine counts what an allocator keeps of that which was freed, and what a model's states hold is
//! estimated. So while a check looks at the clock it also looks at what the whole process holds, once in some
//! milliseconds at most, and the memory budget ends when that has grown past it. What else grows in
//! the process meanwhile counts too: the verdict is then unknown, never another one. Only Linux tells;
//! elsewhere what is counted must do.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// From where, and to where, a process may grow.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Growth {
    from: u64,
    most: u64,
}

/// Less is not told apart from what a process needs beside: stacks, pools of threads, what others do.
const LEAST: u64 = 16 << 20;

impl Growth {
    /// From now on so much, less a twentieth: between two looks something may double, and its old self
    /// stays with the allocator. Who checks many short histories does not look anew for each.
    pub(crate) fn allowed(bytes: u64) -> Option<Self> {
        Some(Growth {
            from: told(Instant::now())?,
            most: (bytes - bytes / 20).max(LEAST),
        })
    }

    /// What the process grew by, when that is more than it may. It may be some milliseconds old when
    /// it is not.
    pub(crate) fn over(self, now: Instant) -> Option<u64> {
        self.beyond(told(now)?)?;
        // What was told may be old when another thread is just looking.
        self.over_now()
    }

    /// The same, as it is now.
    pub(crate) fn over_now(self) -> Option<u64> {
        self.beyond(resident_bytes()?)
    }

    fn beyond(self, bytes: u64) -> Option<u64> {
        let grown = bytes.saturating_sub(self.from);
        (grown > self.most).then_some(grown)
    }
}

/// Microseconds between two looks: a look takes some ten.
const LOOK_EVERY: u64 = 2_000;

/// When somebody looked last, in microseconds since the first look; and what was told.
static LOOKED: AtomicU64 = AtomicU64::new(0);
static TOLD: AtomicU64 = AtomicU64::new(0);

/// What was told at the last look, which is not long ago. None: the system does not tell.
fn told(now: Instant) -> Option<u64> {
    static FIRST: OnceLock<Option<Instant>> = OnceLock::new();
    let first = *FIRST.get_or_init(|| {
        TOLD.store(resident_bytes()?, Ordering::Relaxed);
        Some(now)
    });
    let since = now.saturating_duration_since(first?).as_micros() as u64;
    let looked = LOOKED.load(Ordering::Relaxed);
    let is_due = since >= looked + LOOK_EVERY;
    let (order, other) = (Ordering::Relaxed, Ordering::Relaxed);
    if is_due && LOOKED.compare_exchange(looked, since, order, other).is_ok() {
        TOLD.store(resident_bytes()?, Ordering::Relaxed);
    }
    Some(TOLD.load(Ordering::Relaxed))
}

/// What the process holds in memory, files apart.
fn resident_bytes() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

#[cfg(all(test, target_os = "linux"))]
pub(crate) mod tests {
    use super::*;

    /// Every process has outgrown it.
    pub(crate) const OUTGROWN: Growth = Growth { from: 0, most: 1 };

    #[test]
    fn what_is_told_has_what_was_taken() {
        let taken = vec![1_u8; 64 << 20];
        let told = resident_bytes().expect("Linux tells");
        assert!(told >= taken.len() as u64, "{told}");
    }

    #[test]
    fn it_is_over_when_more_was_taken_than_may_be() {
        assert!(OUTGROWN.over(Instant::now()) > Some(1));
        let growth = Growth::allowed(u64::MAX).expect("Linux tells");
        assert_eq!(growth.over(Instant::now()), None);
    }
}
