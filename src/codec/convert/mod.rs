//! Owns what becomes of samples that are not as networks expect them: ink, Lab, luminance and colour differences,
//! floating point, linear light, profiles of anything but a display. They become grey or RGB with a curve like that
//! of sRGB, and a profile that fits. Never reads a file.
//!
//! What is like a display already stays as it is, to the bit, and keeps its profile: Display P3, Adobe RGB, ProPhoto.
//! The reasons are in docs/decisions/0021.

mod named;
mod profile;
mod rows;
#[cfg(test)]
mod tests;

use moxcms::ColorProfile;

use super::color;
use super::layout::{Channels, Depth, PixelLayout};
use super::raw::{Model, RawLayout, Sample};
use profile::{Evaluator, Gamut, Verdict};

pub(super) use named::{grey_profile_of_png, is_hdr, is_known, profile_of, profile_of_png};
pub(super) use rows::{Converter, Unconvertible};

/// Most that tables of a conversion take while they are made: two grids of 17⁴ colours of ink, curves of 65,536
/// steps for three channels and back.
const TABLES_BYTES: u64 = 16 << 20;

/// A profile that is read holds its tables as numbers.
const PROFILE_GROWTH: u64 = 4;

/// What becomes of the samples of a picture.
pub(super) struct Plan {
    /// What comes out.
    pub(super) layout: PixelLayout,
    /// The profile that fits what comes out.
    pub(super) icc: Option<Vec<u8>>,
    /// What is to be said about it, one line each.
    pub(super) warnings: Vec<String>,
    raw: RawLayout,
    way: Way,
    profile_bytes: u64,
}

/// How colours change.
enum Way {
    /// Not at all, apart from what they are made of.
    Keep,
    /// Each channel by its own curve.
    Curves(Vec<Evaluator>),
    /// By the tables of their profile.
    Managed(Box<ColorProfile>, Gamut),
}

impl Plan {
    /// For samples that are described by a profile, or by none.
    pub(super) fn new(raw: RawLayout, icc: Option<Vec<u8>>) -> Self {
        let profile_bytes = icc.as_ref().map_or(0, Vec::len) as u64;
        let mut warnings = Vec::new();
        let (way, depth, icc) = match raw.model {
            Model::Cmyk(_) | Model::Ycck => ink(raw, icc, &mut warnings),
            // Lab is a description of its own.
            Model::Lab { .. } => (Way::Keep, depth(raw.sample), Gamut::DisplayP3.icc()),
            Model::Grey | Model::Rgb | Model::YCbCr { .. } => light(raw, icc, &mut warnings),
        };
        if raw.sample == Sample::Float {
            let warning = "floating-point samples become 16 bits: what is below 0 or above 1 is clipped";
            warnings.push(warning.to_owned());
        }
        Self {
            layout: PixelLayout {
                channels: raw.channels(),
                depth,
            },
            icc,
            warnings,
            raw,
            way,
            profile_bytes,
        }
    }

    /// What comes in.
    pub(super) fn raw(&self) -> RawLayout {
        self.raw
    }

    /// Whether rows come out as they come in.
    pub(super) fn keeps(&self) -> bool {
        matches!(self.way, Way::Keep) && self.raw.plain() == Some(self.layout)
    }

    /// Bytes that the plan holds, before and while it is followed.
    pub(super) fn kept_bytes(&self) -> u64 {
        let fitting = self.icc.as_ref().map_or(0, Vec::len) as u64;
        match self.way {
            Way::Keep => fitting,
            Way::Curves(_) | Way::Managed(..) => fitting + PROFILE_GROWTH * self.profile_bytes,
        }
    }

    /// Most bytes that converting rows of such a width holds besides.
    pub(super) fn work_bytes(&self, width: u32) -> u64 {
        if self.keeps() {
            return 0;
        }
        let tables = match self.way {
            Way::Keep => 0,
            Way::Curves(_) | Way::Managed(..) => TABLES_BYTES,
        };
        tables + Converter::row_bytes(self.raw, width)
    }
}

/// The depth of what samples become where their curve stays.
fn depth(sample: Sample) -> Depth {
    match sample {
        Sample::Eight => Depth::Eight,
        Sample::Sixteen | Sample::Float => Depth::Sixteen,
    }
}

fn ink(raw: RawLayout, icc: Option<Vec<u8>>, warnings: &mut Vec<String>) -> (Way, Depth, Option<Vec<u8>>) {
    let way = match icc {
        None => {
            warnings.push("CMYK without an ICC profile: how its colours look is estimated".to_owned());
            Way::Keep
        }
        Some(icc) => match profile::ink(&icc) {
            Some(profile) => Way::Managed(Box::new(profile), Gamut::Srgb),
            None => {
                let name = named(&icc);
                warnings.push(format!(
                    "the ICC profile ({name}) cannot be used for CMYK: how the colours look is estimated"
                ));
                Way::Keep
            }
        },
    };
    (way, depth(raw.sample), None)
}

fn light(raw: RawLayout, icc: Option<Vec<u8>>, warnings: &mut Vec<String>) -> (Way, Depth, Option<Vec<u8>>) {
    let same = depth(raw.sample);
    let Some(icc) = icc else {
        return (Way::Keep, same, None);
    };
    if let Some(warning) = misfit(&icc, raw.channels()) {
        warnings.push(warning);
        return (Way::Keep, same, None);
    }
    match profile::judge(&icc) {
        // A viewer may know more about it than is known here.
        Verdict::Display | Verdict::Unusable => (Way::Keep, same, Some(icc)),
        // Eight linear bits have more dark levels than eight of sRGB can say apart.
        Verdict::Curves(curves, fitting) => (Way::Curves(curves), Depth::Sixteen, fitting),
        Verdict::Managed(profile, gamut) => (Way::Managed(profile, gamut), same, gamut.icc()),
    }
}

/// Why a profile cannot be used for such samples.
fn misfit(icc: &[u8], channels: Channels) -> Option<String> {
    if !color::is_profile(icc) {
        return Some("the ICC profile is damaged and is not carried over".to_owned());
    }
    if color::fits(icc, channels) {
        return None;
    }
    let (name, its) = (named(icc), color::space(icc));
    let pixels = if channels.count() < 3 { "grey" } else { "RGB" };
    Some(format!(
        "the ICC profile ({name}) is for {its} and is not carried over: the pixels are {pixels}; colours may differ"
    ))
}

fn named(icc: &[u8]) -> String {
    color::description(icc).unwrap_or_else(|| "without a name".to_owned())
}
