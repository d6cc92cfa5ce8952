//! Owns `Pooling` and the `Reduction` that is one. Never weights what it joins.

use super::super::error::ImportError;
use super::super::graph::{int, ints, text};
use super::conv::{borders, lengths};
use super::param::Layer;
use super::translate::{Blob, EXTENT_MAX, Layout, Translation};
use crate::inference::onnx::proto::AttributeProto;

/// How the border of a pooled image is made, by ncnn's numbers: filled until all pixels are used, left over, or as many
/// pixels as keep the size.
const FULL: i64 = 0;
const VALID: i64 = 1;
const SAME_UPPER: i64 = 2;
const SAME_LOWER: i64 = 3;

/// `Pooling`: of all pixels, or of windows.
pub(super) fn pooling(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_image(layer)?;
    let average = match layer.int(0, 0)? {
        0 => false,
        1 => true,
        other => return Err(layer.refused(format!("the Pooling {other}"))),
    };
    let all = if average {
        "GlobalAveragePool"
    } else {
        "GlobalMaxPool"
    };
    if layer.flag(4)? {
        let value = t.graph.node(all, &[&blob.value], Vec::new());
        return Ok(Blob {
            value,
            layout: Layout::Vector,
            channels: blob.channels,
        });
    }
    if layer.flag(7)? {
        let columns = layer.int(8, 0)?;
        if (columns, layer.int(18, columns)?) != (1, 1) {
            return Err(layer.refused("a Pooling to a fixed size"));
        }
        let value = t.graph.node(all, &[&blob.value], Vec::new());
        return Ok(Blob {
            value,
            layout: Layout::Pixel,
            channels: blob.channels,
        });
    }
    let (operator, attributes) = windows(layer, average)?;
    Ok(Blob {
        value: t.graph.node(operator, &[&blob.value], attributes),
        layout: Layout::Image,
        channels: blob.channels,
    })
}

fn windows(layer: &Layer, average: bool) -> Result<(&'static str, Vec<AttributeProto>), ImportError> {
    let pair = |columns: i32, rows: i32, default: usize| -> Result<[usize; 2], ImportError> {
        let columns = layer.count(columns, default, 1, EXTENT_MAX)?;
        Ok([layer.count(rows, columns, 1, EXTENT_MAX)?, columns])
    };
    let kernel = pair(1, 11, 0)?;
    let stride = pair(2, 12, 1)?;
    let border = lengths(layer, borders(layer, [13, 3, 15, 14])?)?;
    let counts_border = layer.flag(6)?;
    let mode = layer.int(5, 0)?;
    let mut attributes = vec![ints("kernel_shape", &kernel), ints("strides", &stride)];
    match mode {
        FULL | VALID => {
            let [top, left, bottom, right] = border;
            // ONNX leaves a last window out that would lie in the border alone, and counts a filled one differently.
            let same = |axis: usize, end: usize| end + stride[axis] <= kernel[axis];
            let full = mode == FULL && stride != [1, 1];
            if full && !(same(0, bottom) && same(1, right) && !(average && counts_border)) {
                return Err(layer.refused("a Pooling whose last windows lie in the border"));
            }
            if top >= kernel[0] || bottom >= kernel[0] || left >= kernel[1] || right >= kernel[1] {
                return Err(layer.refused("a Pooling with a border as wide as its window"));
            }
            attributes.push(ints("pads", &border));
            attributes.push(int("ceil_mode", i64::from(full)));
        }
        SAME_UPPER | SAME_LOWER if !average && border == [0; 4] => {
            let name = if mode == SAME_UPPER {
                "SAME_UPPER"
            } else {
                "SAME_LOWER"
            };
            attributes.push(text("auto_pad", name));
        }
        other => return Err(layer.refused(format!("a Pooling with the border {other}"))),
    }
    if !average {
        return Ok(("MaxPool", attributes));
    }
    attributes.push(int("count_include_pad", i64::from(counts_border)));
    Ok(("AveragePool", attributes))
}

/// `Reduction`, where it is the mean or the maximum over rows and columns.
pub(super) fn reduction(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_image(layer)?;
    let mut axes = layer.ints(3)?;
    for axis in &mut axes {
        *axis = if *axis < 0 { *axis + 3 } else { *axis };
    }
    axes.sort_unstable();
    let pixels = layer.int(1, 1)? == 0 && axes == [1, 2] && layer.float(2, 1.0)? == 1.0;
    let operator = match layer.int(0, 0)? {
        3 if pixels => "GlobalAveragePool",
        4 if pixels => "GlobalMaxPool",
        other => return Err(layer.refused(format!("the Reduction {other} over axes {axes:?}"))),
    };
    Ok(Blob {
        value: t.graph.node(operator, &[&blob.value], Vec::new()),
        layout: if layer.flag(4)? {
            Layout::Pixel
        } else {
            Layout::Vector
        },
        channels: blob.channels,
    })
}
