//! Owns the way between our tiles (float32 NCHW RGB 0..1) and the tensors that a model takes and gives: layout,
//! channels, value range, half precision, one run or several. Never opens a session and never cuts tiles.
//!
//! A model that takes what we have gets it without a copy, and its result is handed on without one.

use std::borrow::Cow;

use half::f16;
use ort::session::{RunOptions, Session, SessionInputValue, SessionOutputs};
use ort::value::{PrimitiveTensorElementType, TensorElementType, TensorRef};

use super::card::{Element, Layout, ModelCard};
use super::staging::Staging;
use super::{PLANES, Planes};
use crate::size::Size;

/// What a model's tensors are like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Format {
    /// Order of the input's dimensions, and of the output's.
    pub(super) layout: Layout,
    /// Planes of one picture: 1 or 3.
    pub(super) channels: usize,
    /// Element type of the input; the output tells its own.
    pub(super) input: Element,
    /// The values that stand for black and white.
    pub(super) range: [f32; 2],
}

impl Format {
    /// What the card says.
    pub(super) fn of(card: &ModelCard) -> Self {
        Self {
            layout: card.layout,
            channels: card.channels as usize,
            input: card.input_type,
            range: card.value_range,
        }
    }

    /// Whether values and their order are ours. With a single channel both layouts are the same bytes.
    fn keeps_values(&self) -> bool {
        (self.layout == Layout::Nchw || self.channels == 1) && self.range == [0.0, 1.0]
    }

    /// The shape of a tensor in the model's order.
    fn shape(&self, count: usize, size: Size) -> [usize; 4] {
        let (width, height) = (size.width as usize, size.height as usize);
        match self.layout {
            Layout::Nchw => [count, self.channels, height, width],
            Layout::Nhwc => [count, height, width, self.channels],
        }
    }

    /// Pictures, channels and size of a tensor of this shape; `None` where it is no stack of pictures.
    fn read_shape(&self, shape: &[i64]) -> Option<(usize, usize, Size)> {
        let &[count, second, third, fourth] = shape else {
            return None;
        };
        let (channels, height, width) = match self.layout {
            Layout::Nchw => (second, third, fourth),
            Layout::Nhwc => (fourth, second, third),
        };
        let size = Size::new(u32::try_from(width).ok()?, u32::try_from(height).ok()?);
        Some((
            usize::try_from(count).ok()?,
            usize::try_from(channels).ok()?,
            size,
        ))
    }
}

/// Pictures as planes of float32, 0..1: a run's input, or its output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pictures<'a> {
    /// `count · channels · height · width` values.
    pub(super) data: &'a [f32],
    /// How many.
    pub(super) count: usize,
    /// Columns × rows of each.
    pub(super) size: Size,
}

/// Buffers that are kept from run to run, so that a tile costs no allocation. Empty for a model that needs none.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    single: Vec<f32>,
    half: Vec<f16>,
    result: Vec<f32>,
    gathered: Vec<f32>,
}

/// Why a run gave no pictures.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RunError {
    /// ONNX Runtime's words.
    #[error("{0}")]
    Runtime(String),
    /// The output is no stack of as many pictures with as many channels.
    #[error("it returned the shape {got:?} for {wanted:?}")]
    Shape {
        /// In the model's order.
        got: Vec<i64>,
        /// The input's shape, in the model's order.
        wanted: [usize; 4],
    },
    /// The output is made of something else.
    #[error("it returns {0} values; float32 and float16 are understood")]
    Type(String),
    /// The output has another size than the card promises.
    #[error("it returned {got} pixels where {due} were due")]
    Size {
        /// What came.
        got: Size,
        /// What the card says.
        due: Size,
    },
}

impl From<ort::Error> for RunError {
    fn from(error: ort::Error) -> Self {
        Self::Runtime(error.message().to_owned())
    }
}

/// A session, and what its runs can be ended with from another thread.
pub(super) struct Running<'s> {
    /// The session.
    pub(super) session: &'s mut Session,
    /// Of each run.
    pub(super) options: &'s RunOptions,
    /// The way to a GPU and back; `None`: tensors lie where the session wants them.
    pub(super) staging: Option<&'s mut Staging>,
}

impl<'s> Running<'s> {
    fn run<T>(&mut self, shape: [usize; 4], values: &[T]) -> ort::Result<SessionOutputs<'_>>
    where
        T: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static,
    {
        match &mut self.staging {
            Some(staging) => {
                staging.send(shape, values)?;
                self.session
                    .run_binding_with_options(staging.binding(), self.options)
            }
            None => {
                let input = TensorRef::from_array_view((shape, values))?;
                self.session
                    .run_with_options([SessionInputValue::from(input)], self.options)
            }
        }
    }
}

/// Runs tiles through a model of this format. One channel: each colour is a tile of its own, or only one of the three
/// where all are equal. `batches`: whether several go into one run; otherwise they go one after another. `take` is
/// called once, with tiles of the size `due`.
///
/// # Errors
/// [`RunError`]; `take` was not called then.
pub(super) fn run_tiles(
    running: &mut Running<'_>,
    format: &Format,
    batches: bool,
    tiles: Planes<'_>,
    due: Size,
    scratch: &mut Scratch,
    take: &mut dyn FnMut(Planes<'_>),
) -> Result<(), RunError> {
    let grey = format.channels == 1 && is_grey(tiles);
    let pictures = Pictures {
        data: &if grey {
            first_planes(tiles)
        } else {
            Cow::Borrowed(tiles.data)
        },
        count: match (format.channels, grey) {
            (1, false) => tiles.count * PLANES,
            _ => tiles.count,
        },
        size: tiles.size,
    };
    let fits = |got: Size| (got == due).then_some(()).ok_or(RunError::Size { got, due });
    if !grey && (batches || pictures.count == 1) {
        return run(running, format, pictures, scratch, |result| {
            fits(result.size)?;
            take(Planes::batch(result.data, due, tiles.count));
            Ok(())
        })?;
    }
    let mut gathered = std::mem::take(&mut scratch.gathered);
    gathered.clear();
    let at_once = if batches { pictures.count } else { 1 };
    let picture_len = pictures.data.len() / pictures.count;
    let plane_len = due.pixels() as usize;
    let result = pictures.data.chunks(at_once * picture_len).try_for_each(|data| {
        let part = Pictures {
            data,
            count: data.len() / picture_len,
            ..pictures
        };
        run(running, format, part, scratch, |result| {
            fits(result.size)?;
            if grey {
                let planes = result.data.chunks_exact(plane_len);
                planes.for_each(|plane| (0..PLANES).for_each(|_| gathered.extend_from_slice(plane)));
            } else {
                gathered.extend_from_slice(result.data);
            }
            Ok(())
        })?
    });
    if result.is_ok() {
        take(Planes::batch(&gathered, due, tiles.count));
    }
    scratch.gathered = gathered;
    result
}

/// Runs pictures at once and hands the result to `take`: as many, with as many channels, of whatever size.
///
/// # Errors
/// [`RunError`] but for its size.
pub(super) fn run<R>(
    running: &mut Running<'_>,
    format: &Format,
    pictures: Pictures<'_>,
    scratch: &mut Scratch,
    take: impl FnOnce(Pictures<'_>) -> R,
) -> Result<R, RunError> {
    let shape = format.shape(pictures.count, pictures.size);
    let Scratch {
        single, half, result, ..
    } = scratch;
    let [low, high] = format.range;
    let stretch = |value: f32| low + value * (high - low);
    let outputs = match (format.input, format.keeps_values()) {
        (Element::Fp32, true) => running.run(shape, pictures.data)?,
        (Element::Fp32, false) => {
            pack(single, format, pictures, stretch);
            running.run(shape, single.as_slice())?
        }
        (Element::Fp16, _) => {
            pack(half, format, pictures, |value| f16::from_f32(stretch(value)));
            running.run(shape, half.as_slice())?
        }
    };
    let output = &outputs[0];
    let dtype = output.dtype();
    let got = dtype
        .tensor_shape()
        .map(|shape| shape.to_vec())
        .unwrap_or_default();
    let size = match format.read_shape(&got) {
        Some((count, channels, size)) if count == pictures.count && channels == format.channels => size,
        _ => return Err(RunError::Shape { got, wanted: shape }),
    };
    let shrink = |value: f32| (value - low) / (high - low);
    let data = match dtype.tensor_type() {
        Some(TensorElementType::Float32) => {
            let (_, values) = output.try_extract_tensor::<f32>()?;
            if format.keeps_values() {
                values
            } else {
                unpack(result, format, values, size, shrink);
                result.as_slice()
            }
        }
        Some(TensorElementType::Float16) => {
            let (_, values) = output.try_extract_tensor::<f16>()?;
            unpack(result, format, values, size, |value: f16| shrink(value.to_f32()));
            result.as_slice()
        }
        other => {
            let name = other.map_or_else(|| "no tensor".to_owned(), |kind| kind.to_string());
            return Err(RunError::Type(name));
        }
    };
    Ok(take(Pictures {
        data,
        count: pictures.count,
        size,
    }))
}

/// Writes pictures in the model's order.
fn pack<T: Copy + Default>(
    into: &mut Vec<T>,
    format: &Format,
    pictures: Pictures<'_>,
    convert: impl Fn(f32) -> T,
) {
    let (channels, pixels) = (format.channels, pictures.size.pixels() as usize);
    into.clear();
    if format.layout == Layout::Nchw || channels == 1 {
        into.extend(pictures.data.iter().map(|value| convert(*value)));
        return;
    }
    into.resize(pictures.data.len(), T::default());
    let to = into.chunks_exact_mut(channels * pixels);
    for (to, from) in to.zip(pictures.data.chunks_exact(channels * pixels)) {
        for (channel, plane) in from.chunks_exact(pixels).enumerate() {
            for (pixel, value) in to.chunks_exact_mut(channels).zip(plane) {
                pixel[channel] = convert(*value);
            }
        }
    }
}

/// Reads pictures of this size out of the model's order.
fn unpack<T: Copy>(
    into: &mut Vec<f32>,
    format: &Format,
    values: &[T],
    size: Size,
    convert: impl Fn(T) -> f32,
) {
    let (channels, pixels) = (format.channels, size.pixels() as usize);
    into.clear();
    if format.layout == Layout::Nchw || channels == 1 {
        into.extend(values.iter().map(|value| convert(*value)));
        return;
    }
    for picture in values.chunks_exact(channels * pixels) {
        for channel in 0..channels {
            into.extend(
                picture
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .map(|value| convert(*value)),
            );
        }
    }
}

/// Whether all planes of every tile are equal.
fn is_grey(tiles: Planes<'_>) -> bool {
    let pixels = tiles.size.pixels() as usize;
    tiles.data.chunks_exact(PLANES * pixels).all(|tile| {
        let (red, rest) = tile.split_at(pixels);
        let (green, blue) = rest.split_at(pixels);
        red == green && red == blue
    })
}

/// The first plane of every tile.
fn first_planes(tiles: Planes<'_>) -> Cow<'_, [f32]> {
    let pixels = tiles.size.pixels() as usize;
    if tiles.count == 1 {
        return Cow::Borrowed(&tiles.data[..pixels]);
    }
    let tiles = tiles.data.chunks_exact(PLANES * pixels);
    Cow::Owned(tiles.flat_map(|tile| &tile[..pixels]).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(3, 2);

    fn format(layout: Layout, range: [f32; 2]) -> Format {
        Format {
            layout,
            channels: 3,
            input: Element::Fp32,
            range,
        }
    }

    #[test]
    fn what_is_packed_comes_back_the_same() {
        let data: Vec<f32> = (0..36).map(|value| value as f32 / 36.0).collect();
        let pictures = Pictures {
            data: &data,
            count: 2,
            size: SIZE,
        };
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let format = format(layout, [0.0, 255.0]);
            let (mut packed, mut back) = (Vec::new(), Vec::new());
            pack(&mut packed, &format, pictures, |value| value);
            unpack(&mut back, &format, &packed, SIZE, |value| value);
            assert_eq!(back, data, "{layout:?}");
        }
    }

    #[test]
    fn nhwc_puts_the_colours_of_a_pixel_together() {
        let data: Vec<f32> = (0..18).map(|value| value as f32).collect();
        let pictures = Pictures {
            data: &data,
            count: 1,
            size: SIZE,
        };
        let mut packed = Vec::new();
        pack(
            &mut packed,
            &format(Layout::Nhwc, [0.0, 1.0]),
            pictures,
            |value| value,
        );
        assert_eq!(packed[..6], [0.0, 6.0, 12.0, 1.0, 7.0, 13.0]);
    }

    #[test]
    fn only_equal_planes_are_grey() {
        let mut data = vec![0.25; 36];
        assert!(is_grey(Planes::batch(&data, SIZE, 2)));
        assert_eq!(first_planes(Planes::batch(&data, SIZE, 2)).len(), 12);
        data[35] = 0.5;
        assert!(!is_grey(Planes::batch(&data, SIZE, 2)));
    }

    #[test]
    fn one_channel_needs_no_copy_in_either_layout() {
        for layout in [Layout::Nchw, Layout::Nhwc] {
            let grey = Format {
                channels: 1,
                ..format(layout, [0.0, 1.0])
            };
            assert!(grey.keeps_values(), "{layout:?}");
        }
        assert!(!format(Layout::Nhwc, [0.0, 1.0]).keeps_values());
        assert!(!format(Layout::Nchw, [0.0, 255.0]).keeps_values());
    }
}
