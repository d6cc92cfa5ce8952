//! Owns the layers that cut, join and border blobs without computing: `Concat`, `Slice`, `Crop`, `Padding`, `Reshape`,
//! `Flatten`. Never changes a value.

use super::super::error::ImportError;
use super::super::graph::{Value, int, text};
use super::super::weights::Tensor;
use super::conv::lengths;
use super::param::{Layer, shown};
use super::translate::{Blob, EXTENT_MAX, Layout, Translation, moving, of_an_image};

/// In place of a length or a place: as far as there is something.
const TO_THE_END: i64 = -233;

/// The axis of the channels in the graph; rows and columns follow.
const CHANNELS: usize = 1;

/// The axis of the graph that a blob's axis becomes. A vector has but one.
fn axis(layer: &Layer, blob: &Blob, axis: i64) -> Result<usize, ImportError> {
    let axes = if blob.layout == Layout::Vector { 1 } else { 3 };
    let counted = if axis < 0 { axis + axes } else { axis };
    if (0..axes).contains(&counted) {
        Ok(counted as usize + CHANNELS)
    } else {
        Err(layer.damaged(format_args!("works on axis {axis} of {axes}")))
    }
}

/// `Concat` of images along one of their axes, or of vectors.
pub(super) fn concat(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blobs: Vec<Blob> = t.inputs(layer)?.into_iter().cloned().collect();
    let Some(first) = blobs.first() else {
        return Err(layer.damaged("takes nothing"));
    };
    let axis = axis(layer, first, layer.int(0, 0)?)?;
    let vector = first.layout == Layout::Vector;
    let mut channels = 0_usize;
    for blob in &blobs {
        moving(layer, blob)?;
        if (blob.layout == Layout::Vector) != vector {
            return Err(layer.damaged("joins vectors and images"));
        }
        if axis == CHANNELS {
            channels = channels.saturating_add(blob.channels);
        } else if blob.channels != first.channels {
            return Err(layer.damaged("joins images of different channels"));
        } else {
            channels = first.channels;
        }
    }
    let pixels = axis == CHANNELS && blobs.iter().all(|blob| blob.layout == first.layout);
    let values: Vec<&Value> = blobs.iter().map(|blob| &blob.value).collect();
    Ok(Blob {
        value: t.graph.node("Concat", &values, vec![int("axis", axis as i64)]),
        layout: if pixels { first.layout } else { Layout::Image },
        channels,
    })
}

/// `Slice` along one axis, by the lengths of the parts or by the places of the cuts.
pub(super) fn slice(t: &mut Translation<'_>, layer: &Layer) -> Result<Vec<Blob>, ImportError> {
    let blob = t.one_moving(layer)?;
    let axis = axis(layer, &blob, layer.int(1, 0)?)?;
    let parts = layer.outputs.len();
    let (sizes, cuts) = (layer.ints(0)?, layer.ints(2)?);
    // Rows and columns have no length that is known here; the last part takes what is left.
    let length = (axis == CHANNELS).then_some(blob.channels as i64);
    let mut start = 0_i64;
    let mut made = Vec::new();
    for part in 0..parts {
        let last = part + 1 == parts;
        let given = if cuts.is_empty() {
            sizes.get(part)
        } else {
            cuts.get(part)
        };
        let end = match (given.copied(), length) {
            (None, _) if cuts.is_empty() || !last => {
                return Err(layer.damaged(format_args!("does not say how long its {parts} parts are")));
            }
            (_, Some(length)) if !cuts.is_empty() && last => Some(length),
            (_, None) if !cuts.is_empty() && last => None,
            (Some(cut), Some(length)) if !cuts.is_empty() => Some(if cut < 0 { cut + length } else { cut }),
            (Some(cut), None) if !cuts.is_empty() && cut > 0 => Some(cut),
            (Some(TO_THE_END), Some(length)) => Some(start + (length - start) / (parts - part) as i64),
            (Some(TO_THE_END), None) if last => None,
            (Some(size), _) if size > 0 => Some(start + size),
            _ => return Err(layer.refused("a Slice into parts of unknown length")),
        };
        let room = length.unwrap_or(EXTENT_MAX as i64);
        if end.is_some_and(|end| end <= start || end > room) {
            return Err(layer.damaged(format_args!("has a part {part} of no length")));
        }
        let value = cut(t, &blob.value, axis, start, end.unwrap_or(i64::MAX));
        let channels = match (axis, end) {
            (CHANNELS, Some(end)) => (end - start) as usize,
            _ => blob.channels,
        };
        made.push(Blob {
            value,
            layout: blob.layout,
            channels,
        });
        start = end.unwrap_or(start);
    }
    Ok(made)
}

/// What lies from one place to before another; negative places count from the end, as ONNX's do.
fn cut(t: &mut Translation<'_>, x: &Value, axis: usize, start: i64, end: i64) -> Value {
    let [start, end, axis] = [start, end, axis as i64].map(|place| t.graph.ints(&[place]));
    t.graph.node("Slice", &[x, &start, &end, &axis], Vec::new())
}

/// The channels that a cut leaves.
fn left(layer: &Layer, channels: usize, start: i64, end: i64) -> Result<usize, ImportError> {
    let length = channels as i64;
    let place = |place: i64| {
        if place < 0 {
            length.saturating_add(place)
        } else {
            place
        }
    };
    let (start, end) = (place(start), place(end).min(length));
    if (0..end).contains(&start) {
        Ok((end - start) as usize)
    } else {
        Err(layer.damaged(format_args!("leaves none of {channels} channels")))
    }
}

/// `Crop`: by starts and ends, by offsets and lengths, or to another blob's size.
pub(super) fn crop(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if [19, 20, 21].iter().any(|id| layer.has(*id)) {
        return Err(layer.refused("a Crop whose place is computed"));
    }
    let (starts, ends) = (layer.ints(9)?, layer.ints(10)?);
    if !starts.is_empty() && !ends.is_empty() {
        return crop_by_places(t, layer, &starts, &ends);
    }
    let lengths = [layer.int(5, 0)?, layer.int(4, 0)?, layer.int(3, 0)?];
    let cut_off = [layer.int(8, 0)?, layer.int(7, 0)?, layer.int(6, 0)?];
    if lengths == [0; 3] && cut_off == [0; 3] {
        return crop_to_blob(t, layer);
    }
    let blob = t.one_image(layer)?;
    let offsets = offsets(layer)?;
    let mut cropped = blob;
    for (at, ((length, cut_off), offset)) in lengths.into_iter().zip(cut_off).zip(offsets).enumerate() {
        let fits = |value: i64| (0..=EXTENT_MAX as i64).contains(&value);
        if !fits(cut_off) || !(length > 0 && fits(length) || length == TO_THE_END) {
            return Err(layer.refused(format!("a Crop to a length of {length}")));
        }
        let end = if cut_off == 0 { i64::MAX } else { -cut_off };
        cropped = keep(t, layer, cropped, at + CHANNELS, offset, end)?;
        if length != TO_THE_END {
            cropped = keep(t, layer, cropped, at + CHANNELS, 0, length)?;
        }
    }
    Ok(cropped)
}

/// Offsets of channels, rows and columns.
fn offsets(layer: &Layer) -> Result<[i64; 3], ImportError> {
    let offset = |id| layer.count(id, 0, 0, EXTENT_MAX).map(|offset| offset as i64);
    Ok([offset(2)?, offset(1)?, offset(0)?])
}

/// Cuts one axis, if there is something to cut.
fn keep(
    t: &mut Translation<'_>,
    layer: &Layer,
    blob: Blob,
    axis: usize,
    start: i64,
    end: i64,
) -> Result<Blob, ImportError> {
    if (start, end) == (0, i64::MAX) {
        return Ok(blob);
    }
    let channels = if axis == CHANNELS {
        left(layer, blob.channels, start, end)?
    } else {
        blob.channels
    };
    let value = cut(t, &blob.value, axis, start, end);
    Ok(Blob {
        value,
        channels,
        ..blob
    })
}

fn crop_by_places(
    t: &mut Translation<'_>,
    layer: &Layer,
    starts: &[i64],
    ends: &[i64],
) -> Result<Blob, ImportError> {
    let mut cropped = t.one_moving(layer)?;
    let mut axes = layer.ints(11)?;
    if axes.is_empty() {
        axes = (0..if cropped.layout == Layout::Vector { 1 } else { 3 }).collect();
    }
    if axes.len() != starts.len() || axes.len() != ends.len() || axes.len() > 3 {
        return Err(layer.damaged("has not as many starts as ends and axes"));
    }
    let mut done = Vec::new();
    for ((start, end), along) in starts.iter().zip(ends).zip(axes) {
        let start = if *start == TO_THE_END { 0 } else { *start };
        let end = if matches!(*end, TO_THE_END | 0) {
            i64::MAX
        } else {
            *end
        };
        let along = axis(layer, &cropped, along)?;
        if done.contains(&along) {
            return Err(layer.damaged("crops an axis twice"));
        }
        done.push(along);
        cropped = keep(t, layer, cropped, along, start, end)?;
    }
    Ok(cropped)
}

fn crop_to_blob(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if layer.int(0, 0)? == TO_THE_END {
        return Err(layer.refused("a Crop whose place is computed"));
    }
    let [blob, reference] = t.two(layer)?;
    of_an_image(layer, &blob)?;
    of_an_image(layer, &reference)?;
    let [first_channel, row, column] = offsets(layer)?;
    let lengths = t.lengths(&reference.value, 2..4);
    let starts = t.graph.ints(&[row, column]);
    let ends = t.graph.add(&lengths, &starts);
    let axes = t.graph.ints(&[2, 3]);
    let value = t
        .graph
        .node("Slice", &[&blob.value, &starts, &ends, &axes], Vec::new());
    let last_channel = first_channel + reference.channels as i64;
    if last_channel > blob.channels as i64 {
        return Err(layer.damaged(format_args!(
            "cuts {} channels out of {}",
            reference.channels, blob.channels
        )));
    }
    let cropped = Blob {
        layout: Layout::Image,
        ..blob.with(value)
    };
    if reference.channels == cropped.channels {
        return Ok(cropped);
    }
    keep(t, layer, cropped, CHANNELS, first_channel, last_channel)
}

/// Pixels of one value, or as `mode` makes them, at the top, left, bottom and right.
pub(super) fn pad(t: &mut Translation<'_>, x: &Value, mode: &str, border: [usize; 4], value: f32) -> Value {
    pad_all(t, x, mode, [0, 0], border, value)
}

fn pad_all(
    t: &mut Translation<'_>,
    x: &Value,
    mode: &str,
    [front, behind]: [usize; 2],
    [top, left, bottom, right]: [usize; 4],
    value: f32,
) -> Value {
    let pads = [0, front, top, left, 0, behind, bottom, right].map(|len| len as i64);
    let pads = t.graph.ints(&pads);
    let value = t.graph.scalar(value);
    t.graph.node("Pad", &[x, &pads, &value], vec![text("mode", mode)])
}

/// `Padding` by a value, by a value for each channel, by the nearest pixel or by reflection.
pub(super) fn padding(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_image(layer)?;
    let border = [
        layer.int(0, 0)?,
        layer.int(2, 0)?,
        layer.int(1, 0)?,
        layer.int(3, 0)?,
    ];
    let border = lengths(layer, border)?;
    let around = [
        layer.count(7, 0, 0, EXTENT_MAX)?,
        layer.count(8, 0, 0, EXTENT_MAX)?,
    ];
    let mode = match layer.int(4, 0)? {
        0 => "constant",
        1 => "edge",
        2 => "reflect",
        other => return Err(layer.refused(format!("the Padding {other}"))),
    };
    if around != [0, 0] && mode != "constant" {
        return Err(layer.refused("a Padding of channels by other channels"));
    }
    let each = layer.count(6, 0, 0, EXTENT_MAX)?;
    let value = if each == 0 {
        pad_all(t, &blob.value, mode, around, border, layer.float(5, 0.0)?)
    } else {
        if mode != "constant" || around != [0, 0] || each != blob.channels {
            return Err(layer.refused("a Padding by values that are not one for each channel"));
        }
        let values = t.plain(layer, each)?;
        let values = t.graph.constant(Tensor::new(vec![each, 1, 1], values));
        // Zero is the one value that all channels can share.
        let moved = t.graph.sub(&blob.value, &values);
        let padded = pad(t, &moved, mode, border, 0.0);
        t.graph.add(&padded, &values)
    };
    Ok(Blob {
        value,
        layout: Layout::Image,
        channels: blob.channels + around[0] + around[1],
    })
}

/// `Reshape` between a vector and an image of one pixel, which are the same in the graph.
pub(super) fn reshape(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    let [columns, rows, channels] = [0, 1, 2].map(|id| layer.int(id, TO_THE_END));
    let all = |length: i64| length == -1 || usize::try_from(length) == Ok(blob.channels);
    let flat = matches!(blob.layout, Layout::Vector | Layout::Pixel);
    let layout = match (columns?, rows?, channels?) {
        _ if !flat || [6, 11, 12, 13].iter().any(|id| layer.has(*id)) => None,
        (length, TO_THE_END, TO_THE_END) if all(length) => Some(Layout::Vector),
        (1, 1, length) if all(length) => Some(Layout::Pixel),
        _ => None,
    };
    let layout = layout.ok_or_else(|| layer.refused("a Reshape of pixels"))?;
    Ok(Blob { layout, ..blob })
}

/// `Flatten` of an image of one pixel.
pub(super) fn flatten(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    if blob.layout == Layout::Image {
        return Err(layer.refused(format!("a {} of pixels", shown(&layer.kind))));
    }
    Ok(Blob {
        layout: Layout::Vector,
        ..blob
    })
}
