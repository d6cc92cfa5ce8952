//! Owns the layers that hold values of their own, one for each channel or as a blob: `PReLU`, `Scale`, `Bias`,
//! `BatchNorm`, `MemoryData`. Never multiplies matrices.

use super::super::error::ImportError;
use super::super::weights::Tensor;
use super::param::Layer;
use super::translate::{Blob, EXTENT_MAX, Layout, Translation};

/// In place of a size: the values come as a second blob.
const FROM_BLOB: i64 = -233;

/// What divides where a variance is zero, as in ncnn.
const LEAST_DEVIATION: f32 = 0.0001;

fn one_for_each(layer: &Layer, id: i32, blob: &Blob) -> Result<(), ImportError> {
    let count = layer.int(id, 0)?;
    if usize::try_from(count) == Ok(blob.channels) {
        Ok(())
    } else {
        Err(layer.damaged(format_args!("has {count} values for {} channels", blob.channels)))
    }
}

/// `PReLU`: a slope for each channel, or one for all.
pub(super) fn prelu(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    if layer.int(0, 0)? != 1 {
        one_for_each(layer, 0, &blob)?;
    }
    let slopes = layer.count(0, 0, 1, blob.channels)?;
    let slopes = t.per_channel(layer, slopes)?;
    let value = t.graph.prelu(&blob.value, slopes);
    Ok(blob.with(value))
}

/// `Scale`: a factor for each channel, its own or from a vector, and perhaps something to add.
pub(super) fn scale(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if layer.int(0, 0)? == FROM_BLOB {
        return scale_by_blob(t, layer);
    }
    let blob = t.one_moving(layer)?;
    one_for_each(layer, 0, &blob)?;
    let factors = t.per_channel(layer, blob.channels)?;
    let factors = t.graph.constant(factors);
    let value = t.graph.mul(&blob.value, &factors);
    let blob = blob.with(value);
    if layer.flag(1)? {
        add(t, layer, &blob)
    } else {
        Ok(blob)
    }
}

fn scale_by_blob(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let [blob, factors] = t.two(layer)?;
    super::translate::moving(layer, &blob)?;
    if !matches!(factors.layout, Layout::Vector | Layout::Constant(1)) || layer.flag(1)? {
        return Err(layer.refused("a Scale by something else than a vector"));
    }
    if factors.channels != blob.channels {
        return Err(layer.damaged(format_args!(
            "has {} factors for {} channels",
            factors.channels, blob.channels
        )));
    }
    let value = t.graph.mul(&blob.value, &factors.value);
    Ok(blob.with(value))
}

/// `Bias`: something to add for each channel.
pub(super) fn bias(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    one_for_each(layer, 0, &blob)?;
    add(t, layer, &blob)
}

fn add(t: &mut Translation<'_>, layer: &Layer, blob: &Blob) -> Result<Blob, ImportError> {
    let summands = t.per_channel(layer, blob.channels)?;
    let summands = t.graph.constant(summands);
    let value = t.graph.add(&blob.value, &summands);
    Ok(blob.with(value))
}

/// `BatchNorm`, whose statistics no longer change: a factor and a summand for each channel.
pub(super) fn batch_norm(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_moving(layer)?;
    one_for_each(layer, 0, &blob)?;
    let epsilon = layer.float(1, 0.0)?;
    let mut stored = || t.plain(layer, blob.channels);
    let (slopes, means, variances, biases) = (stored()?, stored()?, stored()?, stored()?);
    let deviations = variances
        .iter()
        .map(|variance| match (variance + epsilon).sqrt() {
            0.0 => LEAST_DEVIATION,
            deviation => deviation,
        });
    let factors: Vec<f32> = slopes
        .iter()
        .zip(deviations)
        .map(|(slope, d)| slope / d)
        .collect();
    let shifts = means.iter().zip(&factors).map(|(mean, factor)| mean * factor);
    let summands = biases
        .iter()
        .zip(shifts)
        .map(|(bias, shift)| bias - shift)
        .collect();
    let [factors, summands] =
        [factors, summands].map(|values| t.graph.constant(Tensor::new(vec![blob.channels, 1, 1], values)));
    let scaled = t.graph.mul(&blob.value, &factors);
    let value = t.graph.add(&scaled, &summands);
    Ok(blob.with(value))
}

/// `MemoryData`: a blob that the file holds, the same for all tiles.
pub(super) fn memory_data(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if !layer.inputs.is_empty() || layer.int(11, 0)? != 0 {
        return Err(layer.refused("a MemoryData that takes something, or of more than three axes"));
    }
    let length = |id: i32| layer.count(id, 0, 0, EXTENT_MAX);
    // Axes as a later layer's three see them: a vector and the first of two axes are channels.
    let (shape, axes) = match (length(2)?, length(1)?, length(0)?) {
        (_, _, 0) => return Err(layer.damaged("holds nothing")),
        (0, 0, columns) => ([columns, 1, 1], 1),
        (0, rows, columns) => ([rows, columns, 1], 2),
        (_, 0, _) => return Err(layer.damaged("holds nothing")),
        (channels, rows, columns) => ([channels, rows, columns], 3),
    };
    let count = shape.iter().try_fold(1_usize, |all, len| all.checked_mul(*len));
    let count = count.ok_or_else(|| layer.damaged("holds more than there can be"))?;
    let values = if layer.int(21, 1)? == 0 {
        t.tagged(layer, count)?
    } else {
        t.plain(layer, count)?
    };
    Ok(Blob {
        value: t.graph.constant(Tensor::new(shape.to_vec(), values)),
        layout: Layout::Constant(axes),
        channels: shape[0],
    })
}
