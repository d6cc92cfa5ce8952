//! Owns the word for a model's scale: output pixels per input pixel and side, as an exact fraction, so that tiles
//! meet on whole pixels also where a net makes 1.5 of 1. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A scale in lowest terms; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ratio {
    output: u32,
    input: u32,
}

/// Denominators beyond this do not occur in nets; a measured scale that needs a larger one is no scale.
const MOST_DENOMINATOR: u32 = 16;

impl Ratio {
    /// So many output pixels for one input pixel.
    pub const fn whole(output: u32) -> Self {
        assert!(output > 0, "a scale is never zero");
        Self { output, input: 1 }
    }

    /// `output` pixels for `input` pixels; `None` if either is zero or the denominator exceeds 16 in lowest terms.
    pub fn new(output: u32, input: u32) -> Option<Self> {
        let divisor = greatest_common_divisor(output, input);
        let ratio = Self {
            output: output.checked_div(divisor)?,
            input: input.checked_div(divisor)?,
        };
        (ratio.output > 0 && (1..=MOST_DENOMINATOR).contains(&ratio.input)).then_some(ratio)
    }

    /// The fraction nearest to a number, if one with a denominator up to 16 is within 1e-6.
    pub fn from_f64(times: f64) -> Option<Self> {
        (1..=MOST_DENOMINATOR).find_map(|input| {
            let output = (times * f64::from(input)).round();
            let close = (output / f64::from(input) - times).abs() < 1e-6;
            (close && (1.0..=f64::from(u32::MAX)).contains(&output))
                .then(|| Self::new(output as u32, input))
                .flatten()
        })
    }

    /// Output pixels of `len` input pixels, rounded to the nearest, halves to even (as the reference node does);
    /// saturates.
    pub fn of(self, len: u32) -> u32 {
        let (product, input) = (u64::from(len) * u64::from(self.output), u64::from(self.input));
        let (whole, rest) = (product / input, product % input);
        let up = match (2 * rest).cmp(&input) {
            std::cmp::Ordering::Less => 0,
            std::cmp::Ordering::Equal => whole % 2,
            std::cmp::Ordering::Greater => 1,
        };
        u32::try_from(whole + up).unwrap_or(u32::MAX)
    }

    /// Input positions that are multiples of it fall on whole output pixels.
    pub const fn input_step(self) -> u32 {
        self.input
    }

    /// As a number.
    pub fn as_f64(self) -> f64 {
        f64::from(self.output) / f64::from(self.input)
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 {
        a
    } else {
        greatest_common_divisor(b, a % b)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

/// A number: whole where it is whole.
impl Serialize for Ratio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.input {
            1 => serializer.serialize_u32(self.output),
            _ => serializer.serialize_f64(self.as_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Ratio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let times = f64::deserialize(deserializer)?;
        Self::from_f64(times).ok_or_else(|| serde::de::Error::custom(format!("{times} is no scale")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_round_to_even_as_in_the_reference() {
        let half = Ratio::from_f64(1.5).unwrap();
        assert_eq!([1, 3, 5].map(|len| half.of(len)), [2, 4, 8]);
        assert_eq!(Ratio::whole(4).of(u32::MAX), u32::MAX);
    }

    #[test]
    fn a_scale_survives_its_document() {
        for (ratio, text) in [(Ratio::whole(4), "4"), (Ratio::new(3, 2).unwrap(), "1.5")] {
            assert_eq!(serde_json::to_string(&ratio).unwrap(), text);
            assert_eq!(serde_json::from_str::<Ratio>(text).unwrap(), ratio);
            assert_eq!(ratio.to_string(), text);
        }
        assert_eq!(Ratio::from_f64(1.0 / 3.0), Ratio::new(1, 3));
        for none in [0.0, -1.0, f64::NAN, 0.123_456] {
            assert_eq!(Ratio::from_f64(none), None);
        }
    }
}
