//! Owns the shapes that a model runs at: layout and channels, scale, border crop, alignment, smallest side, the only
//! shape, batches. Never looks at more of the values than it must.

use ort::value::{Outlet, TensorElementType};

use super::super::InferenceError;
use super::super::card::{Element, Layout};
use super::super::classify::{classify, first_line};
use super::super::tensor::RunError;
use super::net::{ARENA_BYTES, Net, Output};
use super::{Refusal, content, values};
use crate::ratio::Ratio;
use crate::size::Size;

/// Sides of the first square, tried in turn where the model does not say: what nets with free shapes and up to six
/// halvings take, then what nets are exported with whose shape is burnt in without being told.
const FIRST_SIDES: [u32; 15] = [
    64, 128, 256, 48, 72, 96, 100, 112, 144, 160, 192, 224, 320, 384, 512,
];

/// Steps that sides may have to be multiples of: halvings.
const ALIGNMENTS: [u32; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A declared side below this is no side but the channels of another layout.
const SHORTEST_FIXED_SIDE: i64 = 8;

/// The first run that returned a picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct First {
    /// What went in.
    pub(super) size: Size,
    /// What came out.
    pub(super) output: Output,
    /// Whether no other size may be tried.
    declared: bool,
}

/// How the output's size follows from the input's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    /// Output pixels per input pixel and side.
    pub(super) scale: Ratio,
    /// Input pixels that the output lacks on each side.
    pub(super) crop_px: u32,
    /// The only shape.
    pub(super) fixed: Option<Size>,
}

/// All that is to be known of sizes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shape {
    pub(super) scale: Ratio,
    pub(super) crop_px: u32,
    pub(super) alignment_px: u32,
    pub(super) minimum_px: u32,
    pub(super) fixed: Option<Size>,
}

impl Growth {
    /// The output's size, where it is a whole number of pixels and not empty.
    fn exactly(&self, input: Size) -> Option<Size> {
        let side = |len: u32| {
            let inner = len.checked_sub(2 * self.crop_px).filter(|inner| *inner > 0)?;
            inner
                .is_multiple_of(self.scale.input_step())
                .then(|| self.scale.of(inner))
        };
        Some(Size::new(side(input.width)?, side(input.height)?))
    }
}

impl Shape {
    /// The next length that the model takes, from this one on.
    pub(super) fn align_up(&self, len: u32) -> u32 {
        len.max(self.minimum_px).next_multiple_of(self.alignment_px)
    }

    /// The input column of an output column, and so for rows.
    pub(super) fn input_of(&self, output: usize) -> u32 {
        self.crop_px + (output as f64 / self.scale.as_f64()).floor() as u32
    }
}

/// Reads the model's own description, then finds the layout and a size at which it runs.
///
/// # Errors
/// A [`Refusal`] if it is not one picture in, one picture out, or runs at no size.
pub(super) fn first(net: &mut Net<'_>) -> Result<First, Refusal> {
    net.format.input = element(net)?;
    let dims = declared(&net.inputs()[0]);
    let dims: [i64; 4] = match dims.len() {
        // ONNX Runtime tells no dimensions where not even their number is known.
        0 => [-1; 4],
        rank => dims.try_into().map_err(|_| Refusal::InputRank(rank))?,
    };
    if dims[0] > 1 {
        return Err(Refusal::Batch(dims[0]));
    }
    let described = declared(&net.outputs()[0]);
    if !matches!(described.len(), 0 | 4) {
        return Err(Refusal::NoPicture(shown(&described)));
    }
    let mut refusal = None;
    let ways = [Layout::Nchw, Layout::Nhwc].map(|layout| [(3, layout), (1, layout)]);
    let ways = ways.as_flattened().iter().copied();
    let mut ways: Vec<(i64, Layout)> = ways
        .filter(|(channels, layout)| fits(dims, *channels, *layout))
        .collect();
    ways.sort_by_key(|(channels, _)| -channels);
    for (channels, layout) in &ways {
        net.format.channels = *channels as usize;
        net.format.layout = *layout;
        match first_at_any_size(net, spatial(dims, *layout)) {
            Ok(first) => return Ok(first),
            // That a picture did not come out tells more than that another layout did not run.
            Err(why) if refusal.is_none() || matches!(why, Refusal::NoPicture(_)) => refusal = Some(why),
            Err(_) => {}
        }
    }
    Err(refusal.unwrap_or_else(|| Refusal::InputChannels(shown(&dims))))
}

/// One input and an output, of types that are fed and understood.
fn element(net: &Net<'_>) -> Result<Element, Refusal> {
    let [input] = net.inputs() else {
        let names: Vec<&str> = net.inputs().iter().map(Outlet::name).collect();
        return Err(Refusal::Inputs {
            count: names.len(),
            names: names.join(", "),
        });
    };
    let name = |outlet: &Outlet| {
        let kind = outlet.dtype().tensor_type();
        kind.map_or_else(|| "no tensor".to_owned(), |kind| kind.to_string())
    };
    let element = match input.dtype().tensor_type() {
        Some(TensorElementType::Float32) => Element::Fp32,
        Some(TensorElementType::Float16) => Element::Fp16,
        _ => return Err(Refusal::InputType(name(input))),
    };
    let Some(output) = net.outputs().first() else {
        return Err(Refusal::NoPicture("[]".to_owned()));
    };
    match output.dtype().tensor_type() {
        Some(TensorElementType::Float32 | TensorElementType::Float16) => Ok(element),
        _ => Err(Refusal::OutputType(name(output))),
    }
}

fn declared(outlet: &Outlet) -> Vec<i64> {
    outlet
        .dtype()
        .tensor_shape()
        .map(|shape| shape.to_vec())
        .unwrap_or_default()
}

/// A shape as people write it.
fn shown(dims: &[i64]) -> String {
    let dims: Vec<String> = dims
        .iter()
        .map(|dim| if *dim < 0 { "?".to_owned() } else { dim.to_string() })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// Whether the declared input can hold so many channels in this layout.
fn fits(dims: [i64; 4], channels: i64, layout: Layout) -> bool {
    let [_, second, third, fourth] = dims;
    let (channel, sides) = match layout {
        Layout::Nchw => (second, [third, fourth]),
        Layout::Nhwc => (fourth, [second, third]),
    };
    (channel < 0 || channel == channels) && sides.iter().all(|side| *side < 0 || *side >= SHORTEST_FIXED_SIDE)
}

/// The declared size, if there is one. Where only one side is declared, the other is tried with the same.
fn spatial(dims: [i64; 4], layout: Layout) -> Option<Size> {
    let (height, width) = match layout {
        Layout::Nchw => (dims[2], dims[3]),
        Layout::Nhwc => (dims[1], dims[2]),
    };
    let known = u32::try_from(height.max(width)).ok()?;
    let side = |len: i64| u32::try_from(len).unwrap_or(known);
    Some(Size::new(side(width), side(height)))
}

fn first_at_any_size(net: &mut Net<'_>, declared: Option<Size>) -> Result<First, Refusal> {
    let sizes = match declared {
        Some(size) => vec![size],
        None => FIRST_SIDES.iter().map(|side| Size::new(*side, *side)).collect(),
    };
    let mut line = None;
    for size in &sizes {
        let picture = content::patch(*size, net.format.channels);
        match net.run(&picture, *size) {
            Ok(output) => {
                return Ok(First {
                    size: *size,
                    output,
                    declared: declared.is_some(),
                });
            }
            Err(RunError::Shape { got, .. }) => return Err(Refusal::NoPicture(shown(&got))),
            Err(RunError::Type(kind)) => return Err(Refusal::OutputType(kind)),
            Err(error) => {
                let text = error.to_string();
                if matches!(classify(&text), InferenceError::OutOfMemory(_)) {
                    return Err(Refusal::OutOfMemory {
                        most_mib: ARENA_BYTES >> 20,
                        line: first_line(&text),
                    });
                }
                line.get_or_insert_with(|| first_line(&text));
            }
        }
    }
    let tried = match declared {
        Some(size) => size.to_string(),
        None => FIRST_SIDES.map(|side| side.to_string()).join(", "),
    };
    Err(Refusal::NeverRuns {
        sizes: tried,
        line: line.unwrap_or_else(|| "no message".to_owned()),
    })
}

/// Scale and border crop, from the outputs of two sizes; of a single one where no other runs.
///
/// # Errors
/// A [`Refusal`] if it is no enlargement that can be tiled.
pub(super) fn growth(net: &mut Net<'_>, first: &First) -> Result<Growth, Refusal> {
    let wider = Size::new(2 * first.size.width, first.size.height);
    let second = if first.declared {
        None
    } else {
        net.run(&content::patch(wider, net.format.channels), wider).ok()
    };
    let Some(second) = second else {
        return growth_of_one(net, first);
    };
    let (input, output) = (first.size, first.output.size);
    if output.width != output.height {
        return Err(Refusal::Aspect { input, output });
    }
    let refusal = Refusal::Scale { input, output };
    if second.size.height != output.height {
        return Err(refusal);
    }
    let grown = f64::from(second.size.width) - f64::from(output.width);
    // Nets with a broken scale round, and so one output pixel may be missing or too many.
    let tolerance = 1.0 / f64::from(input.width);
    let Some(scale) = simplest(grown / f64::from(input.width), tolerance) else {
        return Err(refusal);
    };
    let crop = (f64::from(input.width) - f64::from(output.width) / scale.as_f64()) / 2.0;
    if scale.as_f64() < 0.5 || crop < -0.25 || (crop - crop.round()).abs() > 0.25 {
        return Err(refusal);
    }
    Ok(Growth {
        scale,
        crop_px: crop.round() as u32,
        fixed: None,
    })
}

/// The fraction with the smallest denominator this near to a number.
fn simplest(times: f64, tolerance: f64) -> Option<Ratio> {
    (1..=16u32).find_map(|input| {
        let output = (times * f64::from(input)).round();
        let near = (output / f64::from(input) - times).abs() <= tolerance;
        if near && output >= 1.0 {
            Ratio::new(output as u32, input)
        } else {
            None
        }
    })
}

/// With a single size, 128 of 64 pixels may be twice as large or four times with 16 pixels cropped on each side: the
/// way that fits the picture best.
fn growth_of_one(net: &Net<'_>, first: &First) -> Result<Growth, Refusal> {
    const USUAL: [u32; 6] = [1, 2, 3, 4, 6, 8];
    let (input, output) = (first.size, first.output.size);
    let uncropped = Ratio::new(output.width, input.width).filter(|scale| scale.as_f64() >= 0.5);
    let cropped = USUAL.iter().filter_map(|times| {
        let scale = Ratio::whole(*times);
        let missing = input.width.checked_sub(output.width / times)?;
        (output.width.is_multiple_of(*times) && missing.is_multiple_of(2)).then_some((scale, missing / 2))
    });
    let picture = content::patch(input, net.format.channels);
    let ways = uncropped.map(|scale| (scale, 0)).into_iter().chain(cropped);
    let ways = ways
        .map(|(scale, crop_px)| Growth {
            scale,
            crop_px,
            fixed: Some(input),
        })
        .filter(|growth| growth.exactly(input) == Some(output));
    let rated = ways.map(|growth| {
        let likeness = values::likeness(&picture, input, &first.output, growth, net.format.channels);
        (likeness.map_or(-1.0, |likeness| likeness.correlation), growth)
    });
    let best = rated.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map(|(_, growth)| growth)
        .ok_or(Refusal::Scale { input, output })
}

/// Alignment and smallest side.
///
/// # Errors
/// A [`Refusal`] if sizes other than the first run, but none as its growth promises.
pub(super) fn find(net: &mut Net<'_>, first: &First, growth: Growth) -> Result<Shape, Refusal> {
    let fixed = |size: Size| Shape {
        scale: growth.scale,
        crop_px: growth.crop_px,
        alignment_px: 1,
        minimum_px: size.width.min(size.height),
        fixed: Some(size),
    };
    if let Some(size) = growth.fixed {
        return Ok(fixed(size));
    }
    let step = growth.scale.input_step();
    let alignment = ALIGNMENTS
        .iter()
        .map(|alignment| least_common_multiple(*alignment, step))
        .find(|alignment| {
            let [width, height] = odd_multiples(*alignment, first.size.width);
            runs_exactly(net, growth, Size::new(width, height))
        });
    let Some(alignment) = alignment else {
        // Some multiples run all the same, but which is not known: the first one did.
        return match growth.exactly(first.size) {
            Some(output) if output == first.output.size => Ok(fixed(first.size)),
            _ => Err(Refusal::Scale {
                input: first.size,
                output: first.output.size,
            }),
        };
    };
    let mut works = odd_multiples(alignment, first.size.width)[0] / alignment;
    let mut fails = 2 * growth.crop_px / alignment;
    // Whoever runs at a size runs at the larger ones too: what fails is a padding or a pooling wider than the picture.
    while works - fails > 1 {
        let middle = fails.midpoint(works);
        let side = middle * alignment;
        if runs_exactly(net, growth, Size::new(side, side)) {
            works = middle;
        } else {
            fails = middle;
        }
    }
    Ok(Shape {
        scale: growth.scale,
        crop_px: growth.crop_px,
        alignment_px: alignment,
        minimum_px: works * alignment,
        fixed: None,
    })
}

/// Two lengths from `least` on that are odd multiples, so that no larger alignment hides in them: one leaves a
/// remainder of one step beside multiples of four steps, the other of three.
fn odd_multiples(alignment: u32, least: u32) -> [u32; 2] {
    let first = least.div_ceil(alignment) | 1;
    [first * alignment, (first + 2) * alignment]
}

/// Whether it runs there and returns exactly what was promised, in numbers. Nets that pad to a multiple of their own
/// and forget to cut run, and return too much.
fn runs_exactly(net: &mut Net<'_>, growth: Growth, size: Size) -> bool {
    let picture = content::patch(size, net.format.channels);
    net.run(&picture, size).is_ok_and(|output| {
        growth.exactly(size) == Some(output.size) && output.data.iter().all(|value| value.is_finite())
    })
}

/// Whether two pictures in one run give what two runs give.
pub(super) fn batches(net: &mut Net<'_>, first: &First) -> bool {
    // Convolutions of other shapes may be computed in another order; half precision has 11 bits.
    const TOLERANCE: f32 = 1e-3;
    let upright = content::patch(first.size, net.format.channels);
    let turned: Vec<f32> = upright.iter().rev().copied().collect();
    let both = [upright.as_slice(), turned.as_slice()].concat();
    let mut run = || -> Result<bool, RunError> {
        let together = net.run_batch(&both, 2, first.size)?;
        let apart = [
            net.run(&upright, first.size)?.data,
            net.run(&turned, first.size)?.data,
        ]
        .concat();
        let mut pairs = together.data.iter().zip(&apart);
        Ok(together.data.len() == apart.len() && pairs.all(|(a, b)| (a - b).abs() <= TOLERANCE))
    };
    run().unwrap_or(false)
}

fn least_common_multiple(a: u32, b: u32) -> u32 {
    (1..=b)
        .map(|times| a * times)
        .find(|multiple| multiple.is_multiple_of(b))
        .unwrap_or(a * b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_dimensions_decide_the_layout() {
        let cases = [
            ([-1, 3, -1, -1], vec![(3, Layout::Nchw)]),
            ([1, -1, -1, 3], vec![(3, Layout::Nhwc)]),
            ([-1, 1, -1, -1], vec![(1, Layout::Nchw)]),
            ([1, 64, 64, 1], vec![(1, Layout::Nhwc)]),
            ([-1, 4, -1, -1], vec![]),
        ];
        for (dims, wanted) in cases {
            let all = [
                (3, Layout::Nchw),
                (1, Layout::Nchw),
                (3, Layout::Nhwc),
                (1, Layout::Nhwc),
            ];
            let fitting: Vec<_> = all
                .into_iter()
                .filter(|(channels, layout)| fits(dims, *channels, *layout))
                .collect();
            assert_eq!(fitting, wanted, "{dims:?}");
        }
    }

    #[test]
    fn odd_multiples_tell_an_alignment_from_its_double() {
        for alignment in [1, 2, 4, 8, 16, 32, 64, 3] {
            let [first, second] = odd_multiples(alignment, 64);
            assert!(first >= 64 && second > first);
            assert!(!first.is_multiple_of(2 * alignment) && !second.is_multiple_of(2 * alignment));
        }
    }

    #[test]
    fn a_rounded_scale_is_read_as_the_simplest_near_it() {
        assert_eq!(simplest(85.0 / 64.0, 1.0 / 64.0), Ratio::new(4, 3));
        assert_eq!(simplest(1.5, 1.0 / 64.0), Ratio::new(3, 2));
        assert_eq!(simplest(4.0, 1.0 / 64.0), Some(Ratio::whole(4)));
        assert_eq!(simplest(0.0, 1.0 / 64.0), None);
    }
}
