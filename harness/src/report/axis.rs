//! Axes: from a quantity to a place on the page, with ticks where a person would put them, and
//! quantities in words.

use serde::Serialize;

/// A tick: where it stands and what it says.
#[derive(Debug, Serialize)]
pub(super) struct Tick {
    pub(super) at: f64,
    pub(super) label: String,
}

/// A straight axis from 0 to `top`, drawn from `from` to `to`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Linear {
    pub(super) top: f64,
    pub(super) from: f64,
    pub(super) to: f64,
}

impl Linear {
    pub(super) fn place(self, quantity: f64) -> f64 {
        round(self.from + (self.to - self.from) * quantity / self.top)
    }

    /// Ticks at multiples of 1, 2 or 5 times a power of ten, at most about `count`.
    pub(super) fn ticks(self, count: usize, label: impl Fn(f64) -> String) -> Vec<Tick> {
        let step = nice_step(self.top / count as f64);
        let last = (self.top / step + 1e-9) as usize;
        let quantity = |position: usize| position as f64 * step;
        (0..=last)
            .map(|position| Tick {
                at: self.place(quantity(position)),
                label: label(quantity(position)),
            })
            .collect()
    }
}

/// An axis of powers of ten, for quantities that span many of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Log {
    /// The exponents at both ends.
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Log {
    /// An axis of whole powers of ten around what it must show.
    pub(super) fn around(least: f64, most: f64, from: f64, to: f64) -> Self {
        let low = least.max(1.0).log10().floor();
        Self {
            low,
            high: most.max(1.0).log10().ceil().max(low + 1.0),
            from,
            to,
        }
    }

    pub(super) fn place(self, quantity: f64) -> f64 {
        let share = (quantity.max(1.0).log10() - self.low) / (self.high - self.low);
        round(self.from + (self.to - self.from) * share)
    }

    pub(super) fn ticks(self, label: impl Fn(f64) -> String) -> Vec<Tick> {
        (self.low as i32..=self.high as i32)
            .map(|exponent| 10_f64.powi(exponent))
            .map(|quantity| Tick {
                at: self.place(quantity),
                label: label(quantity),
            })
            .collect()
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is not below `least`.
pub(super) fn nice_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    [1.0, 2.0, 5.0]
        .into_iter()
        .map(|m| m * power)
        .find(|s| *s >= least)
        .unwrap_or(10.0 * power)
}

/// Two decimals are a hundredth of a pixel: no picture needs more, and a page pays for each.
pub(super) fn round(place: f64) -> f64 {
    (place * 100.0).round() / 100.0
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `12.5k`: short enough for an axis.
pub(super) fn short(number: f64) -> String {
    let (number, unit) = match number {
        n if n >= 1e6 => (n / 1e6, "M"),
        n if n >= 1e3 => (n / 1e3, "k"),
        n => (n, ""),
    };
    format!("{}{unit}", decimal(number))
}

/// Microseconds in the unit that fits: `850 µs`, `12.3 ms`, `4.05 s`.
pub(super) fn duration_us(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", decimal(us)),
        us if us < 1e6 => format!("{} ms", decimal(us / 1e3)),
        us if us < 120e6 => format!("{} s", decimal(us / 1e6)),
        us => format!("{} min", decimal(us / 60e6)),
    }
}

/// A moment, in nanoseconds since the start, to the millisecond: `18.421 s`.
pub(super) fn moment_ns(ns: u64) -> String {
    format!(
        "{} s",
        without_idle_zeros(format!("{:.3}", ns as f64 / 1e9))
    )
}

/// A length of time, in nanoseconds: `1.42 s`.
pub(super) fn duration_ns(ns: u64) -> String {
    duration_us(ns as f64 / 1e3)
}

/// Three figures that matter, no idle zeros.
fn decimal(number: f64) -> String {
    let digits = match number.abs() {
        n if n >= 100.0 => 0,
        n if n >= 10.0 => 1,
        _ => 2,
    };
    without_idle_zeros(format!("{number:.digits$}"))
}

fn without_idle_zeros(number: String) -> String {
    if number.contains('.') {
        number
            .trim_end_matches('0')
            .trim_end_matches('.')
            .to_owned()
    } else {
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!(count(1), "1");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(short(12_500.0), "12.5k");
        assert_eq!(duration_us(850.0), "850 µs");
        assert_eq!(duration_us(12_340.0), "12.3 ms");
        assert_eq!(duration_us(4_050_000.0), "4.05 s");
        assert_eq!(moment_ns(0), "0 s");
        assert_eq!(moment_ns(18_421_300_000), "18.421 s");
    }

    #[test]
    fn ticks_are_round_and_stay_on_the_axis() {
        let axis = Linear {
            top: 63.0,
            from: 0.0,
            to: 630.0,
        };
        let ticks = axis.ticks(6, short);
        assert_eq!(ticks.last().map(|tick| tick.label.as_str()), Some("60"));
        assert!(ticks.iter().all(|tick| tick.at <= 630.0));
        let axis = Log::around(300.0, 40_000.0, 100.0, 0.0);
        assert_eq!(axis.ticks(duration_us).len(), 4);
        assert!((axis.place(100_000.0) - 0.0).abs() < 1e-9);
    }
}
