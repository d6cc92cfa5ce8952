//! Owns ICC profiles for colours that files only name or number: CICP code points (PNG, AVIF, JPEG XL), PNG's gAMA
//! and cHRM. Never looks at a pixel.

use moxcms::{Chromaticity, ColorPrimaries, ColorProfile, ToneReprCurve, XyY, curve_from_gamma};

use super::profile::{described, encoded, is_srgb, srgb_curve};

/// Code points of CICP (ITU-T H.273) for the transfer of light: values of an HDR picture, relative to a screen
/// that is brighter than paper.
const PQ: u8 = 16;
const HLG: u8 = 18;

/// Whether such a transfer is for HDR: no ICC profile tells what it looks like on another screen.
pub(in crate::codec) fn is_hdr(transfer: u8) -> bool {
    matches!(transfer, PQ | HLG)
}

/// The profile for CICP code points. `None` for sRGB, which needs none, and for what is unknown or HDR.
pub(in crate::codec) fn profile_of(primaries: u8, transfer: u8) -> Option<Vec<u8>> {
    let (name, white, points) = primaries_of(primaries)?;
    let (curve_name, curve) = curve_of(transfer)?;
    encoded_unless_srgb(&of(white, points, curve, &format!("{name}{curve_name}")))
}

/// Whether [`profile_of`] knows such code points: if it gives none for them, they are sRGB.
pub(in crate::codec) fn is_known(primaries: u8, transfer: u8) -> bool {
    primaries_of(primaries).is_some() && curve_of(transfer).is_some()
}

/// Gamma as PNG's gAMA has it, times 100,000, and the chromaticities of cHRM: white, red, green, blue, x and y,
/// times 100,000. `None` for what is as good as sRGB, and for what cannot be.
pub(in crate::codec) fn profile_of_png(
    gamma: Option<u32>,
    chromaticities: Option<[u32; 8]>,
) -> Option<Vec<u8>> {
    let exponent = match gamma {
        Some(gamma @ 1000..=1_000_000) => 100_000.0 / gamma as f32,
        Some(_) => return None,
        None => 2.2,
    };
    let (white, points) = match chromaticities {
        Some(values) => chromaticities_of(values)?,
        None => (D65, SRGB),
    };
    // 1/2.2 is what writers of sRGB say who have no other word for it.
    let curve = if (exponent - 2.2).abs() < 0.11 {
        srgb_curve()
    } else {
        curve_from_gamma(exponent)
    };
    encoded_unless_srgb(&of(
        white,
        points,
        curve,
        &format!("PNG primaries, gamma {exponent:.2}"),
    ))
}

/// The same for grey: a curve is all that there is to it.
pub(in crate::codec) fn grey_profile_of_png(gamma: Option<u32>) -> Option<Vec<u8>> {
    let exponent = match gamma? {
        gamma @ 1000..=1_000_000 => 100_000.0 / gamma as f32,
        _ => return None,
    };
    if (exponent - 2.2).abs() < 0.11 {
        return None;
    }
    let grey = ColorProfile::new_gray_with_gamma(exponent);
    encoded(&described(grey, &format!("Grey, gamma {exponent:.2}")))
}

fn curve_of(transfer: u8) -> Option<(&'static str, ToneReprCurve)> {
    Some(match transfer {
        // Written as for video, looked at as on the web: no player and no browser makes a difference.
        1 | 6 | 13..=15 => ("", srgb_curve()),
        4 => (" (gamma 2.2)", curve_from_gamma(2.2)),
        5 => (" (gamma 2.8)", curve_from_gamma(2.8)),
        8 => (" (linear)", ToneReprCurve::Lut(Vec::new())),
        17 => (" (gamma 2.6)", curve_from_gamma(2.6)),
        _ => return None,
    })
}

/// x and y of three lights.
type Points = [(f64, f64); 3];

const D65: (f64, f64) = (0.3127, 0.3290);
const SRGB: Points = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)];

fn primaries_of(code: u8) -> Option<(&'static str, (f64, f64), Points)> {
    Some(match code {
        1 => ("sRGB", D65, SRGB),
        4 => (
            "BT.470 M",
            (0.310, 0.316),
            [(0.67, 0.33), (0.21, 0.71), (0.14, 0.08)],
        ),
        5 => ("BT.470 BG", D65, [(0.64, 0.33), (0.29, 0.60), (0.15, 0.06)]),
        6 | 7 => ("BT.601", D65, [(0.630, 0.340), (0.310, 0.595), (0.155, 0.070)]),
        9 => ("BT.2020", D65, [(0.708, 0.292), (0.170, 0.797), (0.131, 0.046)]),
        11 => (
            "DCI-P3",
            (0.314, 0.351),
            [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)],
        ),
        12 => (
            "Display P3",
            D65,
            [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)],
        ),
        22 => ("EBU 3213", D65, [(0.630, 0.340), (0.295, 0.605), (0.155, 0.077)]),
        _ => return None,
    })
}

fn chromaticities_of(values: [u32; 8]) -> Option<((f64, f64), Points)> {
    let at = |index: usize| {
        let part = |value: u32| f64::from(value) / 100_000.0;
        (part(values[2 * index]), part(values[2 * index + 1]))
    };
    let (white, red, green, blue) = (at(0), at(1), at(2), at(3));
    // Lights that span no triangle are nothing to calculate with.
    let area = (green.0 - red.0) * (blue.1 - red.1) - (blue.0 - red.0) * (green.1 - red.1);
    let sane = [white, red, green, blue]
        .iter()
        .all(|(x, y)| *x < 1.0 && *y < 1.0 && x + y <= 1.0);
    (sane && white.0 > 0.01 && white.1 > 0.01 && area.abs() > 0.01).then_some((white, [red, green, blue]))
}

fn of(white: (f64, f64), points: Points, curve: ToneReprCurve, name: &str) -> ColorProfile {
    let point = |(x, y): (f64, f64)| Chromaticity {
        x: x as f32,
        y: y as f32,
    };
    let mut profile = described(ColorProfile::new_srgb(), name);
    profile.update_rgb_colorimetry(
        XyY {
            x: white.0,
            y: white.1,
            yb: 1.0,
        },
        ColorPrimaries {
            red: point(points[0]),
            green: point(points[1]),
            blue: point(points[2]),
        },
    );
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    profile
}

fn encoded_unless_srgb(profile: &ColorProfile) -> Option<Vec<u8>> {
    if is_srgb(profile) { None } else { encoded(profile) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::color::description;

    /// How far the colorants of two profiles are apart.
    fn apart(icc: &[u8], other: &ColorProfile) -> f64 {
        let one = ColorProfile::new_from_slice(icc).unwrap().colorant_matrix().v;
        let other = other.colorant_matrix().v;
        (0..9)
            .map(|at| (one[at / 3][at % 3] - other[at / 3][at % 3]).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn display_p3_and_bt2020_are_what_everybody_else_calls_so() {
        let p3 = profile_of(12, 13).unwrap();
        assert_eq!(description(&p3).as_deref(), Some("Display P3"));
        assert!(apart(&p3, &ColorProfile::new_display_p3()) < 2e-4);
        let wide = profile_of(9, 13).unwrap();
        assert!(apart(&wide, &ColorProfile::new_bt2020()) < 2e-4);
    }

    #[test]
    fn what_is_srgb_has_no_profile_and_what_is_hdr_neither() {
        assert_eq!(profile_of(1, 13), None);
        assert_eq!(profile_of(1, 1), None);
        assert_eq!(profile_of(9, 16), None);
        assert!(is_hdr(16) && is_hdr(18) && !is_hdr(13));
        assert_eq!(profile_of(200, 13), None);
        assert!(profile_of(1, 8).is_some());
    }

    #[test]
    fn gama_and_chrm_become_a_profile_unless_they_say_srgb_or_nonsense() {
        let srgb = [31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000];
        assert_eq!(profile_of_png(Some(45_455), Some(srgb)), None);
        assert_eq!(profile_of_png(Some(45_455), None), None);
        let p3 = [31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000];
        let icc = profile_of_png(Some(45_455), Some(p3)).unwrap();
        assert!(apart(&icc, &ColorProfile::new_display_p3()) < 2e-4);
        assert!(profile_of_png(Some(100_000), None).is_some());
        for nonsense in [[0; 8], [u32::MAX; 8], [31_270; 8]] {
            assert_eq!(profile_of_png(Some(45_455), Some(nonsense)), None);
        }
        assert_eq!(profile_of_png(Some(0), Some(p3)), None);
        assert!(grey_profile_of_png(Some(100_000)).is_some());
        assert_eq!(grey_profile_of_png(Some(45_455)), None);
    }
}
