//! Owns the spelling of single values: words, sizes, times, pixels, scales; the same in the file, on the
//! command line and in `config show`. Pure; knows no key.
//!
//! Every reader returns why not as the rest of a sentence that begins with the key's or the option's name:
//! `must be …, not …`.

use std::fmt::Write as _;
use std::time::Duration;

use bytesize::ByteSize;
use jiff::SignedDuration;

use super::{Format, MetadataPolicy, OnConflict, OnSuccess, OnTooBig, Precision, SandboxMode, Scale, Tiling};

/// Least and greatest scale: below one nothing is upscaled, above 16 no model of today helps.
const SCALES: std::ops::RangeInclusive<f64> = 1.0..=16.0;

/// Least and largest ceiling of a window's side, pixels: below, the halo is all that is left (CONTRACT §3); above, no
/// picture that can be decoded needs more.
pub const TILE_PX: std::ops::RangeInclusive<u32> = 64..=65_536;

/// Overlaps, pixels: less than half of the largest tile.
pub const OVERLAP_PX: std::ops::RangeInclusive<u32> = 0..=32_767;

/// A value that is one of a few words.
pub trait Word: Copy + PartialEq + 'static {
    /// The words, in the order in which messages list them, with what they mean.
    const WORDS: &'static [(&'static str, Self)];

    /// Its word.
    fn word(self) -> &'static str {
        let known = Self::WORDS.iter().find(|(_, value)| *value == self);
        known.map_or("", |(word, _)| word)
    }

    /// The words to choose from, for a message: `"a", "b" or "c"`.
    fn choices() -> String {
        one_of(&words::<Self>())
    }

    /// The value of a word.
    ///
    /// # Errors
    /// Why not, with the nearest word or all of them.
    fn read(text: &str) -> Result<Self, String> {
        if let Some((_, value)) = Self::WORDS.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let near = nearest(text, &words::<Self>());
        let hint = near.map_or(String::new(), |word| format!("; did you mean {word:?}?"));
        Err(format!("must be {}, not {}{hint}", Self::choices(), quoted(text)))
    }
}

fn words<W: Word>() -> Vec<&'static str> {
    W::WORDS.iter().map(|(word, _)| *word).collect()
}

impl Word for Precision {
    const WORDS: &'static [(&'static str, Self)] =
        &[("auto", Self::Auto), ("fp32", Self::Fp32), ("fp16", Self::Fp16)];
}

impl Word for SandboxMode {
    const WORDS: &'static [(&'static str, Self)] = &[("auto", Self::Auto), ("off", Self::Off)];
}

impl Word for OnTooBig {
    const WORDS: &'static [(&'static str, Self)] = &[("shrink", Self::Shrink), ("refuse", Self::Refuse)];
}

impl Word for Tiling {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("auto", Self::Auto),
        ("exact", Self::Exact),
        ("feather", Self::Feather),
        ("comfy", Self::Comfy),
        ("none", Self::None),
    ];
}

impl Word for Format {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("same", Self::Same),
        ("jpeg", Self::Jpeg),
        ("png", Self::Png),
        ("webp", Self::Webp),
        ("tiff", Self::Tiff),
        ("avif", Self::Avif),
        ("jxl", Self::Jxl),
    ];
}

impl Word for OnSuccess {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("keep", Self::Keep),
        ("move", Self::Move),
        ("trash", Self::Trash),
        ("delete", Self::Delete),
    ];
}

impl Word for OnConflict {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("rename", Self::Rename),
        ("overwrite", Self::Overwrite),
        ("skip", Self::Skip),
    ];
}

impl Word for MetadataPolicy {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("keep", Self::Keep),
        ("keep-no-gps", Self::KeepNoGps),
        ("strip", Self::Strip),
    ];
}

/// `"a"`, `"a" or "b"`, `"a", "b" or "c"`.
fn one_of(words: &[&str]) -> String {
    let mut text = String::new();
    for (index, word) in words.iter().enumerate() {
        let before = match index {
            0 => "",
            _ if index + 1 == words.len() => " or ",
            _ => ", ",
        };
        // Writing into a String cannot fail.
        let _ = write!(text, "{before}{word:?}");
    }
    text
}

/// The nearest of some words, if one is near enough to be meant: a third of it mistyped at most.
pub(super) fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let text = text.to_ascii_lowercase();
    words
        .iter()
        .map(|word| (strsim::damerau_levenshtein(&text, word), *word))
        .filter(|(distance, word)| *distance <= (word.len().max(text.len()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Longest piece of a person's text that a message repeats, characters.
const QUOTE_MAX: usize = 64;

/// A person's text within a message: in quotes, control characters escaped, cut when long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(QUOTE_MAX) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A size such as `6GiB` or `512MiB`, in bytes, at least 1.
///
/// # Errors
/// Why not.
pub fn parse_size(text: &str) -> Result<u64, String> {
    const FORM: &str = "must be a size such as \"6GiB\" or \"512MiB\"";
    if text.parse::<f64>().is_ok() {
        return Err(format!("{FORM}, not {}; write its unit too", quoted(text)));
    }
    match text.trim().parse::<ByteSize>() {
        // Saturated: more than any machine addresses.
        Ok(ByteSize(0 | u64::MAX)) | Err(_) => Err(format!("{FORM}, not {}", quoted(text))),
        Ok(size) => Ok(size.as_u64()),
    }
}

/// The spelling that [`parse_size`] reads back exactly, in the largest unit that divides it.
pub fn show_size(bytes: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1 << 40, "TiB"),
        (1 << 30, "GiB"),
        (1 << 20, "MiB"),
        (1 << 10, "KiB"),
    ];
    let unit = UNITS
        .into_iter()
        .find(|(unit, _)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{bytes}B"),
        |(unit, name)| format!("{}{name}", bytes / unit),
    )
}

/// A time such as `10s`, `2h`, `30min` or `1h30m`.
///
/// # Errors
/// Why not.
pub fn parse_time(text: &str) -> Result<Duration, String> {
    text.parse::<SignedDuration>()
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| {
            let hint = if text.parse::<f64>().is_ok() {
                "; write its unit too"
            } else {
                ""
            };
            format!(
                "must be a time such as \"10s\", \"30min\" or \"2h\", not {}{hint}",
                quoted(text)
            )
        })
}

/// The spelling that [`parse_time`] reads back exactly, in the largest unit that divides it.
pub fn show_time(time: Duration) -> String {
    const UNITS: [(u128, &str); 5] = [
        (3_600_000_000_000, "h"),
        (60_000_000_000, "min"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    let nanos = time.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    let unit = UNITS.into_iter().find(|(unit, _)| nanos.is_multiple_of(*unit));
    unit.map_or_else(
        || format!("{nanos}ns"),
        |(unit, name)| format!("{}{name}", nanos / unit),
    )
}

/// Seconds of a day, as far as history is concerned: clocks that change do not matter there.
const DAY_S: u64 = 24 * 3600;

/// Most days that a history is kept for by number: a century, and `forever` beyond.
const DAYS_MAX: u64 = 36_500;

/// Whole days such as `365d`, one at least.
pub fn parse_days(text: &str) -> Option<Duration> {
    let number = text
        .strip_suffix('d')
        .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))?;
    let days: u64 = number.parse().ok().filter(|days| (1..=DAYS_MAX).contains(days))?;
    Some(Duration::from_secs(days * DAY_S))
}

/// The spelling that [`parse_days`] reads back.
pub fn show_days(time: Duration) -> String {
    format!("{}d", time.as_secs() / DAY_S)
}

/// Pixels such as `400MP` or `1.5GP`, or a plain number of them; at least 1.
///
/// # Errors
/// Why not.
pub fn parse_pixels(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 2] = [("MP", 1_000_000), ("GP", 1_000_000_000)];
    let refuse = || {
        format!(
            "must be a number of pixels such as \"400MP\", not {}",
            quoted(text)
        )
    };
    let trimmed = text.trim();
    let unit = UNITS
        .into_iter()
        .find_map(|(unit, pixels)| Some((trimmed.strip_suffix(unit)?.trim_end(), pixels)));
    let pixels = match unit {
        None => trimmed.parse::<u64>().ok(),
        Some((number, pixels)) => match number.parse::<u64>() {
            Ok(number) => number.checked_mul(pixels),
            // A fraction of a unit is far below 2^53, where a float still counts every pixel.
            Err(_) => number
                .parse::<f64>()
                .ok()
                .filter(|number| (0.0..1e6).contains(number))
                .map(|number| (number * pixels as f64).round() as u64),
        },
    };
    // TOML has no greater whole number; `config show` must be able to write it.
    pixels
        .filter(|pixels| *pixels > 0 && *pixels <= i64::MAX as u64)
        .ok_or_else(refuse)
}

/// The spelling that [`parse_pixels`] reads back exactly.
pub fn show_pixels(pixels: u64) -> String {
    if pixels.is_multiple_of(1_000_000) {
        format!("{}MP", pixels / 1_000_000)
    } else {
        pixels.to_string()
    }
}

/// A scale as it is written on a command line: `model` or a number from 1 to 16.
///
/// # Errors
/// Why not.
pub fn parse_scale(text: &str) -> Result<Scale, String> {
    match text {
        "model" => Ok(Scale::Model),
        _ => text
            .parse()
            .map_err(|_| quoted(text))
            .and_then(scale_of)
            .map_err(|found| format!("must be \"model\" or a number from 1 to 16, not {found}")),
    }
}

/// The scale of a number, or the number's spelling when it is out of range.
pub(super) fn scale_of(times: f64) -> Result<Scale, String> {
    if SCALES.contains(&times) {
        Ok(Scale::Times(times))
    } else {
        Err(times.to_string())
    }
}
