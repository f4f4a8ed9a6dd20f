//! Random numbers that depend on the seed and a place (an epoch, a text), not on who draws first.

/// SplitMix64 (Steele, Lea and Flood, 2014; constants as in Java's `SplittableRandom`).
pub(super) struct Random(u64);

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Random {
    /// The stream of a seed at a place.
    pub(super) fn at(seed: u64, place: &[u64]) -> Self {
        Random(place.iter().fold(mix(seed.wrapping_add(GOLDEN)), |state, at| {
            mix(state ^ mix(at.wrapping_add(GOLDEN))).wrapping_add(GOLDEN)
        }))
    }

    /// The plain generator from a state.
    #[cfg(test)]
    pub(super) fn from_state(state: u64) -> Self {
        Random(state)
    }

    /// 64 random bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GOLDEN);
        mix(self.0)
    }

    /// Uniform in [0, 1).
    pub(super) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Uniform in 0..`end`, to within 2⁻⁶⁴ · `end` (Lemire, 2019, without the rejection).
    pub(super) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// True with probability `p`.
    pub(super) fn chance(&mut self, p: f32) -> bool {
        self.unit() < f64::from(p)
    }

    /// Standard normal (Box and Muller, 1958); the second value of the pair is not used.
    pub(super) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// Fisher–Yates.
    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (2..=items.len()).rev() {
            items.swap(end - 1, self.below(end));
        }
    }
}
