//! Owns the layers that change an image's size: `Interp`, `PixelShuffle`, `Reorg`. Never moves channels otherwise.

use super::super::error::ImportError;
use super::super::graph::{Graph, Value, float, int, text};
use super::param::Layer;
use super::translate::{Blob, EXTENT_MAX, Layout, Translation, of_an_image};
use crate::inference::onnx::proto::AttributeProto;

/// Factors by which one layer enlarges.
const FACTOR_MAX: usize = 64;

/// How `Interp` makes pixels between pixels, by ncnn's numbers.
const NEAREST: i64 = 1;
const BILINEAR: i64 = 2;
const BICUBIC: i64 = 3;

/// `Interp`, by factors, to a size, or to another blob's size.
pub(super) fn interp(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    if layer.has(9) {
        return Err(layer.refused("an Interp to a computed size"));
    }
    let kind = layer.int(0, 0)?;
    let attributes = attributes(layer, kind)?;
    let (blob, target) = if layer.flag(5)? {
        let [blob, reference] = t.two(layer)?;
        of_an_image(layer, &blob)?;
        of_an_image(layer, &reference)?;
        // ncnn takes the factors for the neighbours then, whatever the size is.
        if kind == NEAREST {
            return Err(layer.refused("an Interp by nearest pixels to another blob's size"));
        }
        let lengths = t.lengths(&reference.value, 2..4);
        (blob, Target::Lengths(lengths))
    } else {
        let blob = t.one_image(layer)?;
        let target = target(t, layer)?;
        (blob, target)
    };
    let nothing = Graph::absent();
    let value = match target {
        Target::Factors(factors) => {
            let factors = t.graph.floats(&factors);
            t.graph
                .node("Resize", &[&blob.value, &nothing, &factors], attributes)
        }
        Target::Lengths(lengths) => {
            let kept = t.lengths(&blob.value, 0..2);
            let lengths = t.graph.node("Concat", &[&kept, &lengths], vec![int("axis", 0)]);
            t.graph
                .node("Resize", &[&blob.value, &nothing, &nothing, &lengths], attributes)
        }
    };
    Ok(Blob {
        value,
        layout: Layout::Image,
        channels: blob.channels,
    })
}

enum Target {
    /// Of tiles, channels, rows and columns.
    Factors([f32; 4]),
    /// Rows and columns.
    Lengths(Value),
}

fn attributes(layer: &Layer, kind: i64) -> Result<Vec<AttributeProto>, ImportError> {
    let between = if layer.flag(6)? {
        "align_corners"
    } else {
        "half_pixel"
    };
    let between = |mode| {
        vec![
            text("mode", mode),
            text("coordinate_transformation_mode", between),
        ]
    };
    Ok(match kind {
        NEAREST => vec![
            text("mode", "nearest"),
            text("coordinate_transformation_mode", "asymmetric"),
            text("nearest_mode", "floor"),
        ],
        BILINEAR => between("linear"),
        BICUBIC => {
            let mut attributes = between("cubic");
            attributes.push(float("cubic_coeff_a", -0.75));
            attributes
        }
        other => return Err(layer.refused(format!("the Interp {other}"))),
    })
}

fn target(t: &mut Translation<'_>, layer: &Layer) -> Result<Target, ImportError> {
    let rows = layer.count(3, 0, 0, EXTENT_MAX)?;
    let columns = layer.count(4, 0, 0, EXTENT_MAX)?;
    if rows > 0 && columns > 0 {
        let lengths = t.graph.ints(&[rows as i64, columns as i64]);
        return Ok(Target::Lengths(lengths));
    }
    let factors = [layer.float(1, 1.0)?, layer.float(2, 1.0)?];
    if factors
        .iter()
        .any(|factor| !(*factor > 0.0 && *factor <= FACTOR_MAX as f32))
    {
        return Err(layer.refused(format!("an Interp by {factors:?}")));
    }
    // Where a length is rounded, ncnn stepped by the rounded ratio until 2026; now it steps by the factor, as PyTorch does.
    let [rows, columns] = factors;
    Ok(Target::Factors([1.0, 1.0, rows, columns]))
}

/// `PixelShuffle`: channels become pixels.
pub(super) fn pixel_shuffle(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_image(layer)?;
    let factor = layer.count(0, 1, 1, FACTOR_MAX)?;
    let area = factor * factor;
    if !blob.channels.is_multiple_of(area) {
        return Err(layer.damaged(format_args!(
            "shuffles {} channels by a factor of {factor}",
            blob.channels
        )));
    }
    let order = if layer.flag(1)? { "DCR" } else { "CRD" };
    let attributes = vec![int("blocksize", factor as i64), text("mode", order)];
    Ok(Blob {
        value: t.graph.node("DepthToSpace", &[&blob.value], attributes),
        layout: Layout::Image,
        channels: blob.channels / area,
    })
}

/// `Reorg`: pixels become channels.
pub(super) fn reorg(t: &mut Translation<'_>, layer: &Layer) -> Result<Blob, ImportError> {
    let blob = t.one_image(layer)?;
    let stride = layer.count(0, 1, 1, FACTOR_MAX)?;
    let area = stride * stride;
    let channels = blob.channels * area;
    let attributes = vec![int("blocksize", stride as i64)];
    let mut value = t.graph.node("SpaceToDepth", &[&blob.value], attributes);
    if !layer.flag(1)? {
        // ONNX puts the place in the block before the channel.
        let order = t.indices(layer, channels, |index| {
            (index % area) * blob.channels + index / area
        })?;
        value = t.graph.node("Gather", &[&value, &order], vec![int("axis", 1)]);
    }
    Ok(Blob {
        value,
        layout: Layout::Image,
        channels,
    })
}
