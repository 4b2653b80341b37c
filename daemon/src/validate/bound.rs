//! How large a share of errors can be after some were seen, or none.
//!
//! In: errors seen and how many were looked at. Out: the exact upper bound of 95 % (Clopper and
//! Pearson 1934, one-sided) in parts per million, rounded up. It holds for traffic of the kind that
//! was sent, and for no other.

/// What is left outside: 5 %.
const TAIL: f64 = 0.05;
/// Parts in a whole.
pub const MILLION: u64 = 1_000_000;
/// Halvings of the interval: finer than a double can tell.
const HALVINGS: u32 = 60;

/// The largest share of errors, in parts per million, at which so few as `errors` of `of` still come
/// up once in twenty times. With none seen it is about 3 of `of`; nothing looked at bounds nothing.
pub fn upper_ppm(errors: u64, of: u64) -> u64 {
    if errors >= of {
        return MILLION;
    }
    let (mut low, mut high) = (0.0_f64, 1.0_f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(low, high);
        if at_most(errors, of, middle) > TAIL {
            low = middle;
        } else {
            high = middle;
        }
    }
    rounded_up(high)
}

/// Probability of at most `errors` among `of` when each is one with probability `share`, which is
/// above 0 and below 1. Terms are kept as logarithms: the first is too small for a double.
fn at_most(errors: u64, of: u64, share: f64) -> f64 {
    let odds = share.ln() - (-share).ln_1p();
    let mut term = float(of) * (-share).ln_1p();
    let mut sum = term.exp();
    for index in 0..errors {
        term += (float(of - index) / float(index + 1)).ln() + odds;
        sum += term.exp();
    }
    sum
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of flows are far below 2^52"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share is between 0 and 1"
)]
fn rounded_up(share: f64) -> u64 {
    // A millionth of a part is the arithmetic's, not the bound's.
    ((share * 1e6 - 1e-6).ceil() as u64).min(MILLION)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_bounds() {
        // 1 − 0.05^(1/n), and scipy.stats.beta.ppf(0.95, k + 1, n − k), rounded up.
        for (errors, of, ppm) in [
            (0, 1, 950_000),
            (0, 10, 258_866),
            (0, 300, 9_937),
            (0, 299, 9_970),
            (0, 100_000, 30),
            (1, 10, 394_164),
            (5, 100, 102_254),
            (10, 10, MILLION),
            (0, 0, MILLION),
        ] {
            assert_eq!(upper_ppm(errors, of), ppm, "{errors} of {of}");
        }
    }

    proptest! {
        /// By its definition: at the bound so few errors come up in at most one case of twenty, just
        /// below it in more.
        #[test]
        fn the_bound_is_exact(of in 1_u64..5_000, part in 0.0_f64..1.0) {
            let errors = rounded_up(part) * of / MILLION;
            let bound = upper_ppm(errors, of);
            if errors < of {
                prop_assert!(at_most(errors, of, float(bound) / 1e6) <= TAIL + 1e-9 || bound == MILLION);
                prop_assert!(at_most(errors, of, float(bound - 1) / 1e6) > TAIL - 1e-9);
            } else {
                prop_assert_eq!(bound, MILLION);
            }
        }

        /// It is above what was seen, grows with errors, and falls as more is looked at.
        #[test]
        fn more_evidence_is_a_closer_bound(errors in 0_u64..50, more in 51_u64..5_000) {
            let bound = upper_ppm(errors, more);
            prop_assert!(bound > errors * MILLION / more);
            prop_assert!(upper_ppm(errors + 1, more) > bound);
            prop_assert!(upper_ppm(errors, more + 100) < bound);
        }
    }
}
