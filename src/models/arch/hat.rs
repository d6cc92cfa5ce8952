//! Owns the building of HAT: SwinIR's attention with a convolution beside it, and at the end of each group attention
//! to windows that overlap. Any window, depth, number of heads and width. Never reads the scale of that convolution,
//! which no tensor tells.

use super::super::error::ImportError;
use super::super::graph::{Value, int, text};
use super::super::weights::Weights;
use super::attention::{Attention, TABLE, side_of};
use super::ends::{Whole, centred, enlarged, residual_conv, uncentred};
use super::layers::sizes;
use super::windows::{Frame, Grid, Pattern};
use super::{Built, Layers, counted, scale_text};

/// The network's name.
pub const NAME: &str = "HAT";

/// What the convolution beside the attention is multiplied by: no tensor tells, and all that were published have this.
const CONV_SCALE: f32 = 0.01;

/// Buffers that follow from the sizes, and so are not read.
const BUFFERS: [&str; 3] = [
    "relative_position_index_SA",
    "relative_position_index_OCA",
    "attn_mask",
];

/// How many times as long as a window the windows that overlap may be; 1.5 times is what is known.
const OVERLAP_MAX: usize = 2;

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    weights.has("layers.0.residual_group.overlap_attn.qkv.weight")
        && weights.has("layers.0.residual_group.blocks.0.conv_block.cab.0.weight")
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over or
/// no window fits them.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let weights = weights.renamed(|name| {
        let buffer = BUFFERS.iter().any(|end| name.ends_with(end));
        (!buffer).then(|| name.to_owned())
    });
    let [embed, channels, _, _] = sizes(NAME, &weights, "conv_first.weight")?;
    let table = format!("layers.0.residual_group.blocks.0.attn.{TABLE}");
    let [lines, _] = sizes(NAME, &weights, &table)?;
    let side = side_of(NAME, lines)?;
    let [lines, _] = sizes(
        NAME,
        &weights,
        &format!("layers.0.residual_group.overlap_attn.{TABLE}"),
    )?;
    let seen = seen_side(side, lines)?;

    let (mut net, input) = Layers::new(NAME, weights, channels);
    let whole = Whole::new(&mut net, &input, side);
    let x = centred(&mut net, &whole.picture, channels, 1.0);
    let shallow = net.conv(&x, "conv_first", [embed, channels], 3)?;
    let (deep, blocks) = features(&mut net, &shallow, embed, [side, seen])?;
    let x = net.graph.add(&deep, &shallow);
    let (x, factor) = enlarged(&mut net, &x, embed, channels)?;
    let factor = factor.ok_or_else(|| ImportError::Missing {
        network: NAME,
        name: "conv_before_upsample.0.weight".to_owned(),
    })?;
    let x = uncentred(&mut net, &x, channels, 1.0);
    let output = whole.cut(&mut net, &x, factor, 1);
    let details = format!(
        "{} of {embed} features, windows of {side} that see {seen}, {}",
        counted(blocks, "block"),
        scale_text(factor, 1)
    );
    net.finish(&output, details)
}

/// The side of the windows that overlap, whose table of distances has so many lines: (side + seen − 1)².
fn seen_side(side: usize, lines: usize) -> Result<usize, ImportError> {
    let fits = |seen: &usize| {
        let distances = side + seen - 1;
        (seen - side).is_multiple_of(2) && distances * distances == lines
    };
    (side..=OVERLAP_MAX * side).find(fits).ok_or_else(|| {
        ImportError::UnknownNetwork(format!(
            "closest to {NAME}; its table of distances has {lines} lines, which fits no window around one of {side} px"
        ))
    })
}

/// Everything between the first convolution and the sum with what it gave, and the number of blocks.
fn features(
    net: &mut Layers,
    shallow: &Value,
    embed: usize,
    [side, seen]: [usize; 2],
) -> Result<(Value, usize), ImportError> {
    let attention = Attention::new(net, shallow, embed, side);
    let overlap = Overlap::new(net, shallow, &attention, seen);
    let mut x = net.channels_last(shallow);
    if net.weights.has("patch_embed.norm.weight") {
        x = net.layer_norm(&x, "patch_embed.norm", embed)?;
    }
    let (mut blocks, mut group) = (0, 0);
    loop {
        let name = format!("layers.{group}.residual_group");
        if !net.weights.has(&format!("{name}.overlap_attn.qkv.weight")) {
            break;
        }
        let before = x.clone();
        let mut depth = 0;
        while net.weights.has(&format!("{name}.blocks.{depth}.norm1.weight")) {
            x = block(
                net,
                &x,
                &format!("{name}.blocks.{depth}"),
                &attention,
                depth % 2 == 1,
            )?;
            depth += 1;
        }
        x = overlap.block(net, &x, &format!("{name}.overlap_attn"), &attention)?;
        x = conv_or_nothing(net, &x, &format!("layers.{group}.conv"), embed)?;
        x = net.graph.add(&x, &before);
        (blocks, group) = (blocks + depth, group + 1);
    }
    let x = net.layer_norm(&x, "norm", embed)?;
    let x = conv_or_nothing(net, &x, "conv_after_body", embed)?;
    Ok((net.channels_first(&x), blocks))
}

/// The convolution at the end of a group, of a picture with channels last, where there is one.
fn conv_or_nothing(net: &mut Layers, x: &Value, name: &str, embed: usize) -> Result<Value, ImportError> {
    if !net.weights.has(&format!("{name}.weight")) {
        return Ok(x.clone());
    }
    let x = net.channels_first(x);
    let x = residual_conv(net, &x, name, embed)?;
    Ok(net.channels_last(&x))
}

/// Attention inside of windows and a convolution beside it, then an MLP.
fn block(
    net: &mut Layers,
    x: &Value,
    name: &str,
    attention: &Attention,
    moved: bool,
) -> Result<Value, ImportError> {
    let embed = attention.channels;
    let y = net.layer_norm(x, &format!("{name}.norm1"), embed)?;
    let beside = net.channels_first(&y);
    let beside = channel_block(net, &beside, &format!("{name}.conv_block.cab"), embed)?;
    let beside = net.channels_last(&beside);
    let beside = net.graph.scale(&beside, CONV_SCALE);
    let y = attention.among(net, &y, &format!("{name}.attn"), moved)?;
    let x = net.graph.add(x, &y);
    let x = net.graph.add(&x, &beside);
    net.residual_mlp(&x, name, embed)
}

/// Two convolutions, and channels weighed by their means.
fn channel_block(net: &mut Layers, x: &Value, name: &str, embed: usize) -> Result<Value, ImportError> {
    let [few, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.0.weight"))?;
    let x = net.conv(x, &format!("{name}.0"), [few, embed], 3)?;
    let x = net.gelu(&x);
    let x = net.conv(&x, &format!("{name}.2"), [embed, few], 3)?;
    let squeeze = format!("{name}.3.attention.1");
    let [few, _, _, _] = sizes(NAME, &net.weights, &format!("{squeeze}.weight"))?;
    let mean = net.graph.global_mean(&x);
    let mean = net.conv(&mean, &squeeze, [few, embed], 1)?;
    let mean = net.graph.relu(&mean);
    let mean = net.conv(&mean, &format!("{name}.3.attention.3"), [embed, few], 1)?;
    let gate = net.graph.sigmoid(&mean);
    Ok(net.graph.mul(&x, &gate))
}

/// What the attentions to overlapping windows have in common: each window sees a larger one around it.
struct Overlap {
    seen: usize,
    /// The larger windows, side by side.
    grid: Grid,
    /// For each pair of a pixel and one that it sees, the line of the table of distances.
    index: Value,
    /// Rows and columns of the picture with its border that make the larger windows side by side.
    rows: Value,
    columns: Value,
}

impl Overlap {
    fn new(net: &mut Layers, shallow: &Value, attention: &Attention, seen: usize) -> Self {
        let side = attention.side;
        let frame = Frame::of(net, shallow);
        let (rows, high) = repeated(net, &frame.rows, [side, seen]);
        let (columns, wide) = repeated(net, &frame.columns, [side, seen]);
        let larger = Frame {
            tiles: frame.tiles,
            rows: high,
            columns: wide,
        };
        let grid = Grid::new(net, &larger, [seen; 2], 2 * attention.channels, Pattern::Block);
        let index = net.graph.ints(&distances(side, seen));
        Self {
            seen,
            grid,
            index,
            rows,
            columns,
        }
    }

    /// Attention of the pixels of each window to those of the larger one around it, then an MLP.
    fn block(
        &self,
        net: &mut Layers,
        x: &Value,
        name: &str,
        attention: &Attention,
    ) -> Result<Value, ImportError> {
        let embed = attention.channels;
        let distances = attention.side + self.seen - 1;
        let (table, heads) = attention.table(net, name, distances * distances)?;
        let pairs = [attention.grid.pixels(), self.grid.pixels()];
        let bias = net.pair_bias(&table, &self.index, pairs);

        let y = net.layer_norm(x, &format!("{name}.norm1"), embed)?;
        let y = net.linear(&y, &format!("{name}.qkv"), [3 * embed, embed])?;
        let parts = net.graph.ints(&[embed as i64, 2 * embed as i64]);
        let [q, kv] = net.graph.nodes_of("Split", &[&y, &parts], vec![int("axis", -1)]);
        let q = attention.grid.windows(net, &q);
        let [q] = net.heads(&q, heads);
        let kv = self.spread(net, &kv, attention.side);
        let kv = self.grid.windows(net, &kv);
        let [k, v] = net.heads(&kv, heads);
        let y = net.attend([&q, &k, &v], heads.scale(), &[&bias]);
        let y = net.joined(&y, heads);
        let y = attention.grid.picture(net, &y);
        let y = net.linear(&y, &format!("{name}.proj"), [embed, embed])?;
        let x = net.graph.add(x, &y);
        net.residual_mlp(&x, name, embed)
    }

    /// The larger windows of a picture, channels last, side by side; what lies outside of the picture is 0.
    fn spread(&self, net: &mut Layers, x: &Value, side: usize) -> Value {
        let border = ((self.seen - side) / 2) as i64;
        let pads = net.graph.ints(&[0, border, border, 0, 0, border, border, 0]);
        let x = net.graph.node("Pad", &[x, &pads], vec![text("mode", "constant")]);
        let x = net.graph.node("Gather", &[&x, &self.rows], vec![int("axis", 1)]);
        net.graph
            .node("Gather", &[&x, &self.columns], vec![int("axis", 2)])
    }
}

/// The places of larger windows side by side in a length with a border, one after the other, and how many they are.
fn repeated(net: &mut Layers, length: &Value, [side, seen]: [usize; 2]) -> (Value, Value) {
    let [zero, step, larger] = [0, side, seen].map(|len| net.graph.ints(&[len as i64]));
    let [first, end, by] = [&zero, length, &step].map(|list| net.graph.node("Squeeze", &[list], Vec::new()));
    let starts = net.graph.node("Range", &[&first, &end, &by], Vec::new());
    let starts = net.reshape(&starts, &[-1, 1]);
    let inside: Vec<i64> = (0..seen as i64).collect();
    let inside = net.graph.ints(&inside);
    let places = net.graph.add(&starts, &inside);
    let windows = net.graph.node("Div", &[length, &step], Vec::new());
    (net.reshape(&places, &[-1]), net.graph.mul(&windows, &larger))
}

/// For each pixel of a window and each of the larger one around it, the line of a table of all distances. The network
/// was trained with numbers that are negative for some, which PyTorch counts from the end.
fn distances(side: usize, seen: usize) -> Vec<i64> {
    let (side, seen) = (side as i64, seen as i64);
    let wide = side + seen - 1;
    let pixels = |side: i64| (0..side * side).map(move |pixel| (pixel / side, pixel % side));
    pixels(side)
        .flat_map(|(row, column)| {
            pixels(seen).map(move |(other_row, other_column)| {
                let down = other_row - row + side - seen + 1;
                let across = other_column - column + side - seen + 1;
                (down * wide + across).rem_euclid(wide * wide)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of PyTorch's module for windows of 2 that see 4, the negative ones counted from the end of 25 lines.
    #[test]
    fn distances_to_larger_windows_are_those_of_the_training() {
        let lines = distances(2, 4);
        assert_eq!(lines.len(), 4 * 16);
        assert_eq!(lines[..6], [19, 20, 21, 22, 24, 0]);
        assert!(lines.iter().all(|line| (0..25).contains(line)));
    }

    #[test]
    fn larger_windows_have_a_border_of_whole_pixels() {
        assert_eq!(seen_side(16, 39 * 39), Ok(24));
        assert_eq!(seen_side(4, 9 * 9), Ok(6));
        assert_eq!(seen_side(4, 7 * 7), Ok(4));
        // A window of 5 around one of 4, and one of 10.
        assert!(seen_side(4, 8 * 8).is_err() && seen_side(4, 13 * 13).is_err());
    }
}
