//! Owns the word for the colour that is put behind a transparent picture where its result holds no transparency. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Red, green, blue, as they are stored (sRGB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Background([u8; 3]);

impl Background {
    /// What paper and most pages are.
    pub const WHITE: Self = Self([255; 3]);

    /// `white`, `black` or `#rrggbb`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "white" => return Some(Self::WHITE),
            "black" => return Some(Self([0; 3])),
            _ => {}
        }
        let digits = text.strip_prefix('#')?.as_bytes();
        if digits.len() != 6 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let value = u32::from_str_radix(text.get(1..)?, 16).ok()?;
        let [_, rgb @ ..] = value.to_be_bytes();
        Some(Self(rgb))
    }

    /// As samples of a pixel: red, green, blue, or its luminance (Rec. 709) three times where a pixel has one colour.
    pub fn samples(self, colours: usize) -> [u8; 3] {
        let [red, green, blue] = self.0.map(u32::from);
        match colours {
            1 => [((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000) as u8; 3],
            _ => self.0,
        }
    }
}

impl fmt::Display for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl From<Background> for String {
    fn from(background: Background) -> Self {
        background.to_string()
    }
}

impl TryFrom<String> for Background {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a colour")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colour_is_read_as_it_is_written_and_nothing_else_is_one() {
        for text in ["#000000", "#ffffff", "#0a80Ff"] {
            let read = Background::parse(text).unwrap();
            assert_eq!(read.to_string(), text.to_ascii_lowercase());
        }
        for text in ["", "#", "#fff", "red", "#+12345", "#12345é", "0a80ff"] {
            assert_eq!(Background::parse(text), None, "{text}");
        }
        assert_eq!(Background::parse("#ff0000").unwrap().samples(1), [54; 3]);
        assert_eq!(Background::WHITE.samples(1), [255; 3]);
    }
}
