//! Chance from a seed (splitmix64, Steele et al. 2014), so that a day that failed can be run again.

/// A source of chance.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// `UPSCALED_TEST_SEED`: a number, or `fresh` for one that is new each time; else always the same, so that a change
    /// is judged by what it changed. Printed, and shown when the test fails.
    pub fn new() -> Self {
        let seed = match std::env::var("UPSCALED_TEST_SEED") {
            Ok(text) if text == "fresh" => u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            Ok(text) => text.parse().expect("UPSCALED_TEST_SEED is a number, or `fresh`"),
            Err(_) => 12_999_917_159_599_312_153,
        };
        println!("UPSCALED_TEST_SEED={seed}");
        Self(seed)
    }

    /// Another source, which goes its own way.
    pub fn split(&mut self) -> Self {
        Self(self.next())
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    /// From 0 to one less than this.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `least` to `most`.
    pub fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }
}
