//! Owns the building of SwinIR: classical, lightweight, for photographs and without enlargement; any window, depth,
//! number of heads and width. Never builds those with absolute positions, which run at one size.

use super::super::error::ImportError;
use super::super::graph::Value;
use super::super::weights::Weights;
use super::attention::{Attention, TABLE, side_of};
use super::ends::{Whole, centred, enlarged, residual_conv, uncentred};
use super::layers::{shuffle_factor, sizes};
use super::{Built, Layers, counted, scale_text};

/// The network's name.
pub const NAME: &str = "SwinIR";

/// The nets against JPEG's artefacts, and only they, have windows of 7 and were trained on 0 to 255.
const BYTES_SIDE: usize = 7;
const BYTES_RANGE: f32 = 255.0;

/// Buffers that follow from the sizes, and so are not read.
const BUFFERS: [&str; 2] = ["attn.relative_position_index", "attn_mask"];

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    weights.has("layers.0.residual_group.blocks.0.attn.relative_position_bias_table")
        && weights.has("layers.0.residual_group.blocks.0.mlp.fc1.weight")
        && !weights.has("layers.0.residual_group.blocks.0.conv_block.cab.0.weight")
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let weights = weights.renamed(|name| {
        let buffer = BUFFERS.iter().any(|end| name.ends_with(end));
        (!buffer).then(|| name.to_owned())
    });
    let unshuffled = weights.has("conv_first.1.weight");
    let first = if unshuffled { "conv_first.1" } else { "conv_first" };
    let [embed, inputs, _, _] = sizes(NAME, &weights, &format!("{first}.weight"))?;
    let unshuffle = unshuffled
        .then(|| shuffle_factor(inputs, 3))
        .flatten()
        .unwrap_or(1);
    let channels = inputs / (unshuffle * unshuffle);
    let table = format!("layers.0.residual_group.blocks.0.attn.{TABLE}");
    let [lines, _] = sizes(NAME, &weights, &table)?;
    let side = side_of(NAME, lines)?;
    let (mut net, input) = Layers::new(NAME, weights, channels);
    let whole = Whole::new(&mut net, &input, side * unshuffle);
    let range = if side == BYTES_SIDE { BYTES_RANGE } else { 1.0 };
    let normal = centred(&mut net, &whole.picture, channels, range);
    let x = if unshuffle > 1 {
        net.graph.pixel_unshuffle(&normal, channels, unshuffle)
    } else {
        normal.clone()
    };
    let shallow = net.conv(&x, first, [embed, inputs], 3)?;
    let (deep, blocks) = features(&mut net, &shallow, embed, side)?;
    let x = net.graph.add(&deep, &shallow);
    let (mut x, factor) = enlarged(&mut net, &x, embed, channels)?;
    if factor.is_none() {
        x = net.graph.add(&normal, &x);
    }
    let factor = factor.unwrap_or(1);
    let x = uncentred(&mut net, &x, channels, range);
    let output = whole.cut(&mut net, &x, factor, unshuffle);
    let details = format!(
        "{} of {embed} features, windows of {side}, {}",
        counted(blocks, "block"),
        scale_text(factor, unshuffle)
    );
    net.finish(&output, details)
}

/// Everything between the first convolution and the sum with what it gave, and the number of blocks.
fn features(
    net: &mut Layers,
    shallow: &Value,
    embed: usize,
    side: usize,
) -> Result<(Value, usize), ImportError> {
    let body = Attention::new(net, shallow, embed, side);
    let mut x = net.channels_last(shallow);
    if net.weights.has("patch_embed.norm.weight") {
        x = net.layer_norm(&x, "patch_embed.norm", embed)?;
    }
    let (mut blocks, mut group) = (0, 0);
    while net
        .weights
        .has(&format!("layers.{group}.residual_group.blocks.0.norm1.weight"))
    {
        let before = x.clone();
        let mut depth = 0;
        loop {
            let name = format!("layers.{group}.residual_group.blocks.{depth}");
            if !net.weights.has(&format!("{name}.norm1.weight")) {
                break;
            }
            x = block(net, &x, &name, &body, depth % 2 == 1)?;
            depth += 1;
        }
        let y = net.channels_first(&x);
        let y = residual_conv(net, &y, &format!("layers.{group}.conv"), embed)?;
        let y = net.channels_last(&y);
        x = net.graph.add(&y, &before);
        (blocks, group) = (blocks + depth, group + 1);
    }
    let x = net.layer_norm(&x, "norm", embed)?;
    let x = net.channels_first(&x);
    Ok((residual_conv(net, &x, "conv_after_body", embed)?, blocks))
}

/// Attention inside of windows, moved by half their side in every other block, and an MLP.
fn block(
    net: &mut Layers,
    x: &Value,
    name: &str,
    body: &Attention,
    moved: bool,
) -> Result<Value, ImportError> {
    let y = net.layer_norm(x, &format!("{name}.norm1"), body.channels)?;
    let y = body.among(net, &y, &format!("{name}.attn"), moved)?;
    let x = net.graph.add(x, &y);
    net.residual_mlp(&x, name, body.channels)
}
