//! Owns the judgement of ICC profiles: whether samples that they describe are like those of a display, which is
//! what networks have learned from, and what such samples become if they are not. Never touches a row.

use moxcms::{
    ColorProfile, DataColorSpace, Layout, LocalizableString, Matrix3d, ProfileText, RenderingIntent,
    ToneCurveEvaluator, ToneReprCurve, TransformOptions, Xyzd,
};

use crate::codec::guard::fenced;

/// Evaluates one channel's curve.
pub(super) type Evaluator = Box<dyn ToneCurveEvaluator + Send + Sync>;

/// How far a value may move, of 1, when it is read by its own curve and written by that of sRGB, and still count as
/// one for a display. ProPhoto's gamma of 1.8 moves by 0.075, gamma 2.6 by 0.06, a linear one by 0.24.
const CURVE_TOLERANCE: f32 = 0.1;

/// How far the white of a profile may be from that of the connection space.
const WHITE_TOLERANCE: f64 = 0.05;

/// How far outside of a gamut a colour may be and still count as inside: rounding of tables.
const GAMUT_TOLERANCE: f64 = 0.01;

/// Points along each side of the cube of colours with which a gamut is measured.
const GAMUT_STEPS: u32 = 9;

/// What samples are in the light of their profile.
pub(super) enum Verdict {
    /// As a display has them: they stay, and so does the profile.
    Display,
    /// Of other curves, linear ones for example, one for each channel: re-encoded with the curve of sRGB, within the
    /// same primaries, so that nothing clips. What then describes them; `None` where that is sRGB.
    Curves(Vec<Evaluator>, Option<Vec<u8>>),
    /// Anything else: converted by the profile's tables.
    Managed(Box<ColorProfile>, Gamut),
    /// Nothing that can be calculated with.
    Unusable,
}

/// Judges the profile of grey or RGB samples.
pub(super) fn judge(icc: &[u8]) -> Verdict {
    fenced(|| {
        let profile = ColorProfile::new_from_slice(icc).ok()?;
        match profile.color_space {
            DataColorSpace::Gray => judge_grey(&profile),
            DataColorSpace::Rgb if has_tables(&profile) => judge_tables(profile),
            DataColorSpace::Rgb => judge_matrix(profile),
            _ => None,
        }
    })
    .ok()
    .flatten()
    .unwrap_or(Verdict::Unusable)
}

/// A profile with which ink can be converted.
pub(super) fn ink(icc: &[u8]) -> Option<ColorProfile> {
    let profile = fenced(|| ColorProfile::new_from_slice(icc).ok()).ok().flatten()?;
    (profile.color_space == DataColorSpace::Cmyk && has_tables(&profile)).then_some(profile)
}

fn has_tables(profile: &ColorProfile) -> bool {
    profile.lut_a_to_b_perceptual.is_some() || profile.lut_a_to_b_colorimetric.is_some()
}

fn judge_grey(profile: &ColorProfile) -> Option<Verdict> {
    let curve = profile.gray_trc.as_ref()?.make_linear_evaluator().ok()?;
    if is_for_display(|value| curve.evaluate_value(value)) {
        return Some(Verdict::Display);
    }
    let mut grey = ColorProfile::new_gray_with_gamma(2.2);
    grey.gray_trc = Some(srgb_curve());
    let icc = encoded(&described(grey, "Grey with the sRGB curve"));
    Some(Verdict::Curves(vec![curve], icc))
}

fn judge_matrix(profile: ColorProfile) -> Option<Verdict> {
    let curves = [&profile.red_trc, &profile.green_trc, &profile.blue_trc]
        .into_iter()
        .map(|curve| curve.as_ref()?.make_linear_evaluator().ok())
        .collect::<Option<Vec<_>>>()?;
    let matrix = profile.colorant_matrix();
    if matrix.v.iter().flatten().all(|value| *value == 0.0) {
        return None;
    }
    let lights = to_srgb(matrix);
    let white = [0, 1, 2].map(|row| matrix.v[row].iter().sum::<f64>());
    let white_is_white = white
        .iter()
        .zip([0.9642, 1.0, 0.8249])
        .all(|(is, wanted)| (is - wanted).abs() < WHITE_TOLERANCE);
    if !white_is_white || !(0..3).all(|channel| leads([0, 1, 2].map(|row| lights.v[row][channel]), channel)) {
        return managed(profile);
    }
    if curves
        .iter()
        .all(|curve| is_for_display(|value| curve.evaluate_value(value)))
    {
        return Some(Verdict::Display);
    }
    let mut fitting = ColorProfile::new_srgb();
    fitting.cicp = None;
    fitting.red_colorant = profile.red_colorant;
    fitting.green_colorant = profile.green_colorant;
    fitting.blue_colorant = profile.blue_colorant;
    let icc = if is_srgb(&fitting) {
        None
    } else {
        Some(encoded(&described(
            fitting,
            "The source's primaries with the sRGB curve",
        ))?)
    };
    Some(Verdict::Curves(curves, icc))
}

/// Tables may mean anything: what they make of a few colours tells.
fn judge_tables(profile: ColorProfile) -> Option<Verdict> {
    let greys: Vec<[f32; 3]> = [0.25, 0.5, 0.75].map(|value| [value; 3]).to_vec();
    let lights = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    let seen_greys = seen(&profile, &greys)?;
    let seen_lights = seen(&profile, &lights)?;
    let curve_fits = greys.iter().zip(&seen_greys).all(|(stored, seen)| {
        seen.iter()
            .all(|light| (srgb_encoded(light.max(0.0) as f32) - stored[0]).abs() <= CURVE_TOLERANCE)
    });
    if curve_fits
        && seen_lights
            .iter()
            .enumerate()
            .all(|(channel, light)| leads(*light, channel))
    {
        return Some(Verdict::Display);
    }
    managed(profile)
}

fn managed(profile: ColorProfile) -> Option<Verdict> {
    let gamut = Gamut::around(&profile)?;
    Some(Verdict::Managed(Box::new(profile), gamut))
}

/// Whether a colour, linear in sRGB's primaries, is mostly of one channel.
fn leads(light: [f64; 3], channel: usize) -> bool {
    light[channel] > 0.2 && (0..3).all(|other| other == channel || light[other] < light[channel])
}

fn is_for_display(curve: impl Fn(f32) -> f32) -> bool {
    [0.1, 0.25, 0.5, 0.75, 0.9]
        .into_iter()
        .all(|value| (srgb_encoded(curve(value)) - value).abs() <= CURVE_TOLERANCE)
}

/// What a profile makes of colours: linear, in sRGB's primaries, beyond 0..=1 where they are wider.
fn seen(profile: &ColorProfile, colors: &[[f32; 3]]) -> Option<Vec<[f64; 3]>> {
    let wide = wide_linear();
    let transform = profile
        .create_transform_f32(Layout::Rgb, &wide, Layout::Rgb, options(profile))
        .ok()?;
    let mut seen = vec![0.0; colors.len() * 3];
    transform.transform(colors.as_flattened(), &mut seen).ok()?;
    let matrix = to_srgb(wide.colorant_matrix());
    let rows = seen.as_chunks::<3>().0.iter();
    Some(rows.map(|color| times(&matrix, color.map(f64::from))).collect())
}

/// Large enough for every colour of a surface, and without a curve.
fn wide_linear() -> ColorProfile {
    let mut wide = ColorProfile::new_pro_photo_rgb();
    let linear = Some(ToneReprCurve::Lut(Vec::new()));
    (wide.red_trc, wide.green_trc, wide.blue_trc) = (linear.clone(), linear.clone(), linear);
    wide
}

/// How colours are converted: light relative to white, as viewers show it; ink as the makers of a profile meant it,
/// whose black is black then.
pub(super) fn options(profile: &ColorProfile) -> TransformOptions {
    let is_light = profile.color_space != DataColorSpace::Cmyk;
    let colorimetric = match (&profile.lut_a_to_b_perceptual, &profile.lut_a_to_b_colorimetric) {
        (Some(_), Some(_)) => is_light,
        (perceptual, _) => perceptual.is_none(),
    };
    TransformOptions {
        rendering_intent: if colorimetric {
            RenderingIntent::RelativeColorimetric
        } else {
            RenderingIntent::Perceptual
        },
        // What the tag says and what the curves say may differ; everybody else looks at the curves.
        allow_use_cicp_transfer: false,
        prefer_fixed_point: false,
        ..TransformOptions::default()
    }
}

/// Colour spaces of displays, all with the curve of sRGB, from the smallest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gamut {
    /// What everybody expects where nothing is said.
    Srgb,
    /// Newer screens.
    DisplayP3,
    /// Nearly all colours of surfaces.
    Bt2020,
    /// All of them.
    ProPhoto,
}

impl Gamut {
    /// The smallest that holds all that a profile can say.
    fn around(profile: &ColorProfile) -> Option<Self> {
        let step = |at: u32| at as f32 / (GAMUT_STEPS - 1) as f32;
        let colors: Vec<[f32; 3]> = (0..GAMUT_STEPS.pow(3))
            .map(|at| {
                [
                    at / GAMUT_STEPS.pow(2),
                    at / GAMUT_STEPS % GAMUT_STEPS,
                    at % GAMUT_STEPS,
                ]
                .map(step)
            })
            .collect();
        let seen = seen(profile, &colors)?;
        let holds = |gamut: &Self| {
            let matrix = inverse(gamut.profile().colorant_matrix()).mat_mul(srgb());
            let inside = -GAMUT_TOLERANCE..=1.0 + GAMUT_TOLERANCE;
            seen.iter()
                .all(|color| times(&matrix, *color).iter().all(|light| inside.contains(light)))
        };
        let fitting = [Self::Srgb, Self::DisplayP3, Self::Bt2020]
            .into_iter()
            .find(holds);
        Some(fitting.unwrap_or(Self::ProPhoto))
    }

    /// Its profile, to calculate with.
    pub(super) fn profile(self) -> ColorProfile {
        let (mut profile, name) = match self {
            Self::Srgb => return ColorProfile::new_srgb(),
            Self::DisplayP3 => (ColorProfile::new_display_p3(), "Display P3"),
            Self::Bt2020 => (ColorProfile::new_bt2020(), "BT.2020 with the sRGB curve"),
            Self::ProPhoto => (ColorProfile::new_pro_photo_rgb(), "ProPhoto with the sRGB curve"),
        };
        profile.cicp = None;
        let curve = Some(srgb_curve());
        (profile.red_trc, profile.green_trc, profile.blue_trc) = (curve.clone(), curve.clone(), curve);
        described(profile, name)
    }

    /// Its profile, to write into a file; sRGB needs none.
    pub(super) fn icc(self) -> Option<Vec<u8>> {
        match self {
            Self::Srgb => None,
            _ => encoded(&self.profile()),
        }
    }
}

/// The curve of sRGB as ICC profiles write it.
pub(super) fn srgb_curve() -> ToneReprCurve {
    ToneReprCurve::Parametric(vec![2.4, 1.0 / 1.055, 0.055 / 1.055, 1.0 / 12.92, 0.04045])
}

/// A value of 0..=1 with the curve of sRGB.
pub(super) fn srgb_encoded(light: f32) -> f32 {
    if light <= 0.003_130_8 {
        light * 12.92
    } else {
        1.055 * light.powf(1.0 / 2.4) - 0.055
    }
}

/// Whether there is no difference that anybody could see between a profile and sRGB.
pub(super) fn is_srgb(profile: &ColorProfile) -> bool {
    let (one, other) = (profile.colorant_matrix().v, srgb().v);
    let same_lights = (0..9).all(|at| (one[at / 3][at % 3] - other[at / 3][at % 3]).abs() < 0.002);
    let same_curve = [&profile.red_trc, &profile.green_trc, &profile.blue_trc]
        .into_iter()
        .all(|curve| {
            let curve = curve
                .as_ref()
                .and_then(|curve| curve.make_linear_evaluator().ok());
            curve.is_some_and(|curve| {
                [0.01, 0.1, 0.3, 0.5, 0.8]
                    .into_iter()
                    .all(|value| (srgb_encoded(curve.evaluate_value(value)) - value).abs() < 0.002)
            })
        });
    same_lights && same_curve
}

/// With another name for people.
pub(super) fn described(mut profile: ColorProfile, name: &str) -> ColorProfile {
    let text = LocalizableString::new("en".to_owned(), "US".to_owned(), name.to_owned());
    profile.description = Some(ProfileText::Localizable(vec![text]));
    profile
}

/// White of the connection space, as a header has it.
const D50: [u8; 12] = *b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d";

/// From daylight, the white of displays, to that of the connection space, as Bradford has it.
const FROM_DAYLIGHT: Matrix3d = Matrix3d {
    v: [
        [1.047_81, 0.022_89, -0.050_13],
        [0.029_54, 0.990_48, -0.017_05],
        [-0.009_23, 0.015_04, 0.752_13],
    ],
};

/// As it stands in a file that others read. As the crate would write it, libpng takes a profile for damaged, whose length
/// is no multiple of four, and JPEG XL's readers see another white: there stand Bradford's cones, not what adapts to them.
pub(super) fn encoded(profile: &ColorProfile) -> Option<Vec<u8>> {
    let mut profile = profile.clone();
    profile.chromatic_adaptation = profile.chromatic_adaptation.and(Some(FROM_DAYLIGHT));
    profile.media_white_point = Some(Xyzd {
        x: 0.9642,
        y: 1.0,
        z: 0.8249,
    });
    let mut icc = profile.encode().ok()?;
    icc.resize(icc.len().next_multiple_of(4), 0);
    let length = u32::try_from(icc.len()).ok()?;
    icc.get_mut(..4)?.copy_from_slice(&length.to_be_bytes());
    icc.get_mut(68..80)?.copy_from_slice(&D50);
    Some(icc)
}

fn srgb() -> Matrix3d {
    ColorProfile::new_srgb().colorant_matrix()
}

/// From linear values in some primaries to linear ones in those of sRGB.
fn to_srgb(colorants: Matrix3d) -> Matrix3d {
    inverse(srgb()).mat_mul(colorants)
}

/// From the connection space to linear values of such primaries.
pub(super) fn inverse(colorants: Matrix3d) -> Matrix3d {
    colorants.inverse()
}

/// A colour through a matrix.
pub(super) fn times(matrix: &Matrix3d, color: [f64; 3]) -> [f64; 3] {
    [0, 1, 2].map(|row| {
        let line = matrix.v[row];
        line[0] * color[0] + line[1] * color[1] + line[2] * color[2]
    })
}
