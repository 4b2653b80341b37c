//! Reproducible choices: a seed goes in, the same sequence comes out on every machine.

/// `SplitMix64` (Steele, Lea and Flood, 2014): small, and good enough to choose moments and sizes.
#[derive(Debug, Clone)]
pub struct Seed(u64);

impl Seed {
    /// Starts the sequence of `seed`; `SAKSHI_SEED` in the environment takes its place. The seed is
    /// printed, so that a failure can be run again.
    pub fn printed(seed: u64) -> Self {
        let chosen = std::env::var("SAKSHI_SEED")
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(seed);
        println!("seed {chosen} (SAKSHI_SEED={chosen} repeats this run)");
        Self(chosen)
    }

    /// Starts the sequence of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; 0 when the bound is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_number().checked_rem(bound).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_published_sequence() {
        let mut seed = Seed::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| seed.next_number()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }
}
