//! Owns the building of DAT: blocks with attention among the pixels of long windows, lying and standing, in turn with
//! blocks with attention among channels over the whole picture. Any windows, depth, number of heads and width. Never
//! pads inside of a block, as the module does where the windows do not fit.

use super::super::error::ImportError;
use super::super::graph::{Value, float, int};
use super::super::weights::{Tensor, Weights};
use super::attention::{SIDE_MAX, distances};
use super::ends::{Whole, centred, enlarged, residual_conv, uncentred};
use super::layers::sizes;
use super::windows::{Frame, Grid, HeadSize, Pattern};
use super::{Built, Layers, counted, scale_text};

/// The network's name.
pub const NAME: &str = "DAT";

/// What keeps the norm over a batch from dividing by zero, PyTorch's.
const BATCH_EPSILON: f32 = 1e-5;

/// Buffers that follow from the sizes, and so are not read.
const BUFFERS: [&str; 3] = ["relative_position_index", "attn_mask_0", "attn_mask_1"];

/// All distances in a window, row by row; the last one tells its sides.
const DISTANCES: &str = "layers.0.blocks.0.attn.attns.0.rpe_biases";

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    weights.has(DISTANCES)
        && weights.has("before_RG.1.weight")
        && weights.has("layers.0.blocks.0.attn.channel_interaction.1.weight")
}

/// One of the two halves of the channels, whose windows lie (or stand).
struct Half {
    channels: usize,
    window: [usize; 2],
    /// The cutting of queries, keys and values together, and of what is gathered.
    three: Grid,
    one: Grid,
    /// All distances of two pixels of a window, and for each pair of pixels the line of these.
    distances: Value,
    index: Value,
    /// What keeps opposite borders apart where the windows are moved.
    apart: Value,
}

/// What all blocks have in common.
struct Body {
    channels: usize,
    halves: [Half; 2],
    /// The picture as one window.
    whole: Grid,
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over or
/// no window fits them.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let window = window(&weights)?;
    let weights = weights.renamed(|name| {
        let buffer = BUFFERS.iter().any(|end| name.ends_with(end)) || name.ends_with("rpe_biases");
        (!buffer).then(|| name.to_owned())
    });
    let [embed, channels, _, _] = sizes(NAME, &weights, "conv_first.weight")?;
    if embed % 2 != 0 {
        return Err(ImportError::UnknownNetwork(format!(
            "closest to {NAME}; {embed} features have no halves"
        )));
    }
    let (mut net, input) = Layers::new(NAME, weights, channels);
    let whole = Whole::new(&mut net, &input, window[0] * window[1] / common(window));
    let x = centred(&mut net, &whole.picture, channels, 1.0);
    let shallow = net.conv(&x, "conv_first", [embed, channels], 3)?;
    let (deep, blocks) = features(&mut net, &shallow, embed, window)?;
    let x = net.graph.add(&deep, &shallow);
    let (x, factor) = enlarged(&mut net, &x, embed, channels)?;
    let factor = factor.ok_or_else(|| ImportError::Missing {
        network: NAME,
        name: "upsample.0.weight".to_owned(),
    })?;
    let x = uncentred(&mut net, &x, channels, 1.0);
    let output = whole.cut(&mut net, &x, factor, 1);
    let details = format!(
        "{} of {embed} features, windows of {} × {}, {}",
        counted(blocks, "block"),
        window[0],
        window[1],
        scale_text(factor, 1)
    );
    net.finish(&output, details)
}

/// Rows and columns of the first half's windows.
fn window(weights: &Weights) -> Result<[usize; 2], ImportError> {
    let [lines, _] = sizes(NAME, weights, DISTANCES)?;
    let values = weights.get(DISTANCES).map(Tensor::values).unwrap_or_default();
    let sides = match values {
        [.., rows, columns] => [rows, columns].map(|farthest| farthest + 1.0),
        _ => [0.0; 2],
    };
    let fits = |side: f32| side.fract() == 0.0 && (1.0..=SIDE_MAX as f32).contains(&side);
    let window = sides.map(|side| if fits(side) { side as usize } else { 1 });
    if all_distances(window) == values {
        return Ok(window);
    }
    Err(ImportError::UnknownNetwork(format!(
        "closest to {NAME}; its {lines} distances fit no window up to {SIDE_MAX} px"
    )))
}

/// Rows and columns between two pixels of a window, all that there are.
fn all_distances(window: [usize; 2]) -> Vec<f32> {
    let [rows, columns] = window.map(|side| side as i64);
    let all = (1 - rows..rows).flat_map(|row| (1 - columns..columns).map(move |column| [row, column]));
    all.flatten().map(|distance| distance as f32).collect()
}

/// Greatest common divisor.
fn common([a, b]: [usize; 2]) -> usize {
    if b == 0 { a } else { common([b, a % b]) }
}

/// Everything between the first convolution and the sum with what it gave, and the number of blocks.
fn features(
    net: &mut Layers,
    shallow: &Value,
    embed: usize,
    window: [usize; 2],
) -> Result<(Value, usize), ImportError> {
    let frame = Frame::of(net, shallow);
    let body = Body {
        channels: embed,
        halves: [window, [window[1], window[0]]].map(|window| Half::new(net, &frame, window, embed / 2)),
        whole: Grid::new(net, &frame, [1, 1], embed, Pattern::Phase),
    };
    let x = net.channels_last(shallow);
    let mut x = net.layer_norm(&x, "before_RG.1", embed)?;
    let (mut blocks, mut group) = (0, 0);
    while net.weights.has(&format!("layers.{group}.blocks.0.norm1.weight")) {
        let before = x.clone();
        let mut depth = 0;
        loop {
            let name = format!("layers.{group}.blocks.{depth}");
            if !net.weights.has(&format!("{name}.norm1.weight")) {
                break;
            }
            x = body.block(net, &x, &name, [group, depth])?;
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

impl Half {
    fn new(net: &mut Layers, frame: &Frame, window: [usize; 2], channels: usize) -> Self {
        let all = all_distances(window);
        let all = net.graph.constant(Tensor::new(vec![all.len() / 2, 2], all));
        let three = Grid::new(net, frame, window, 3 * channels, Pattern::Block);
        Self {
            channels,
            window,
            distances: all,
            index: net.graph.ints(&distances(window)),
            apart: three.apart(net, window.map(|side| side / 2)),
            one: Grid::new(net, frame, window, channels, Pattern::Block),
            three,
        }
    }

    /// What pixels gather from those of their windows; `x`: queries, keys and values, channels last.
    fn attend(&self, net: &mut Layers, x: &Value, name: &str, moved: bool) -> Result<Value, ImportError> {
        let (table, heads) = self.table(net, &format!("{name}.pos"))?;
        let bias = net.pair_bias(&table, &self.index, [self.one.pixels(); 2]);
        let by = self.window.map(|side| if moved { (side / 2) as i64 } else { 0 });
        let x = net.rolled(x, by);
        let x = self.three.windows(net, &x);
        let [q, k, v] = net.heads(&x, heads);
        let mut biases = vec![&bias];
        biases.extend(moved.then_some(&self.apart));
        let x = net.attend([&q, &k, &v], heads.scale(), &biases);
        let x = net.joined(&x, heads);
        let x = self.one.picture(net, &x);
        Ok(net.rolled(&x, by.map(|by| -by)))
    }

    /// A bias for each distance and head, which a small network makes of the distance; and the heads.
    fn table(&self, net: &mut Layers, name: &str) -> Result<(Value, HeadSize), ImportError> {
        let [wide, _] = sizes(NAME, &net.weights, &format!("{name}.pos_proj.weight"))?;
        let last = format!("{name}.pos3.2.weight");
        let [heads, _] = sizes(NAME, &net.weights, &last)?;
        let size = head_size(self.channels, heads, &last)?;
        let mut x = net.linear(&self.distances, &format!("{name}.pos_proj"), [wide, 2])?;
        for (step, outputs) in [("pos1", wide), ("pos2", wide), ("pos3", heads)] {
            x = net.layer_norm(&x, &format!("{name}.{step}.0"), wide)?;
            x = net.graph.relu(&x);
            x = net.linear(&x, &format!("{name}.{step}.2"), [outputs, wide])?;
        }
        Ok((x, size))
    }
}

/// So many heads that share the channels evenly.
///
/// # Errors
/// [`ImportError::Shape`] of the tensor that tells the heads.
fn head_size(channels: usize, heads: usize, name: &str) -> Result<HeadSize, ImportError> {
    if channels.is_multiple_of(heads) {
        let channels = channels / heads;
        return Ok(HeadSize { heads, channels });
    }
    Err(ImportError::Shape {
        network: NAME,
        name: name.to_owned(),
        found: vec![heads],
        expected: vec![channels],
    })
}

/// Whether the windows of a block, by the numbers of its group and its own, are moved.
fn moved([group, block]: [usize; 2]) -> bool {
    if group.is_multiple_of(2) {
        block % 4 == 2
    } else {
        block.is_multiple_of(4)
    }
}

impl Body {
    /// Attention among pixels or, in every other block, among channels; then an MLP of which one half gates the other.
    fn block(
        &self,
        net: &mut Layers,
        x: &Value,
        name: &str,
        number: [usize; 2],
    ) -> Result<Value, ImportError> {
        let attention = format!("{name}.attn");
        let y = net.layer_norm(x, &format!("{name}.norm1"), self.channels)?;
        let qkv = net.linear(
            &y,
            &format!("{attention}.qkv"),
            [3 * self.channels, self.channels],
        )?;
        let y = if number[1].is_multiple_of(2) {
            self.spatial(net, &qkv, &attention, moved(number))?
        } else {
            self.channel(net, &qkv, &attention)?
        };
        let y = net.channels_last(&y);
        let y = net.linear(&y, &format!("{attention}.proj"), [self.channels; 2])?;
        let x = net.graph.add(x, &y);
        let y = net.layer_norm(&x, &format!("{name}.norm2"), self.channels)?;
        let y = self.gated_mlp(net, &y, &format!("{name}.ffn"))?;
        Ok(net.graph.add(&x, &y))
    }

    /// Attention among the pixels of windows, and a convolution beside it, each weighed by the other. Channels first.
    fn spatial(&self, net: &mut Layers, qkv: &Value, name: &str, moved: bool) -> Result<Value, ImportError> {
        let [q0, q1, k0, k1, v0, v1] = net.graph.nodes_of("Split", &[qkv], vec![int("axis", -1)]);
        let mut attended = Vec::with_capacity(2);
        for (number, (half, parts)) in self
            .halves
            .iter()
            .zip([[&q0, &k0, &v0], [&q1, &k1, &v1]])
            .enumerate()
        {
            let parts = net.graph.node("Concat", &parts, vec![int("axis", 3)]);
            attended.push(half.attend(net, &parts, &format!("{name}.attns.{number}"), moved)?);
        }
        let attended: Vec<&Value> = attended.iter().collect();
        let attended = net.graph.node("Concat", &attended, vec![int("axis", 3)]);
        let attended = net.channels_first(&attended);
        let v = net.graph.node("Concat", &[&v0, &v1], vec![int("axis", 3)]);
        let beside = self.beside(net, &v, name)?;
        let by_channel = self.channel_map(net, &beside, name)?;
        let by_pixel = self.pixel_map(net, &attended, name)?;
        let attended = net.graph.mul(&attended, &by_channel);
        let beside = net.graph.mul(&beside, &by_pixel);
        Ok(net.graph.add(&attended, &beside))
    }

    /// Attention among channels, and a convolution beside it, each weighed by the other. Channels first.
    fn channel(&self, net: &mut Layers, qkv: &Value, name: &str) -> Result<Value, ImportError> {
        let temperature = format!("{name}.temperature");
        let [count, _, _] = sizes(NAME, &net.weights, &temperature)?;
        let heads = head_size(self.channels, count, &temperature)?;
        let temperature = net.take(&temperature, &[count, 1, 1])?;
        let temperature = net.graph.constant(temperature);
        let parts: [Value; 3] = net.graph.nodes_of("Split", &[qkv], vec![int("axis", -1)]);
        let beside = self.beside(net, &parts[2], name)?;
        let [q, k, v] = parts.map(|part| {
            let part = self.whole.windows(net, &part);
            let [part] = net.heads(&part, heads);
            part
        });
        let attended = net.attend_channels([&q, &k, &v], &temperature);
        let attended = net.joined(&attended, heads);
        let attended = self.whole.picture(net, &attended);
        let attended = net.channels_first(&attended);
        let by_channel = self.channel_map(net, &attended, name)?;
        let by_pixel = self.pixel_map(net, &beside, name)?;
        let attended = net.graph.mul(&attended, &by_pixel);
        let beside = net.graph.mul(&beside, &by_channel);
        Ok(net.graph.add(&attended, &beside))
    }

    /// The convolution beside the attention, of values with channels last; channels first.
    fn beside(&self, net: &mut Layers, v: &Value, name: &str) -> Result<Value, ImportError> {
        let x = net.channels_first(v);
        let x = net.depthwise(&x, &format!("{name}.dwconv.0"), self.channels)?;
        let x = batch_norm(net, &x, &format!("{name}.dwconv.1"), self.channels)?;
        Ok(net.gelu(&x))
    }

    /// A weight for each channel, of the means of all.
    fn channel_map(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let mean = net.graph.global_mean(x);
        weights_of(
            net,
            &mean,
            &format!("{name}.channel_interaction"),
            self.channels,
            [1, 2, 4],
            self.channels,
        )
    }

    /// A weight for each pixel, of its channels.
    fn pixel_map(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        weights_of(
            net,
            x,
            &format!("{name}.spatial_interaction"),
            self.channels,
            [0, 1, 3],
            1,
        )
    }

    /// Two linear layers, and between them one half that gates the other, after a convolution.
    fn gated_mlp(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let [_, half] = sizes(NAME, &net.weights, &format!("{name}.fc2.weight"))?;
        let x = net.linear(x, &format!("{name}.fc1"), [2 * half, self.channels])?;
        let x = net.gelu(&x);
        let [x, gate] = net.graph.nodes_of("Split", &[&x], vec![int("axis", -1)]);
        let gate = net.layer_norm(&gate, &format!("{name}.sg.norm"), half)?;
        let gate = net.channels_first(&gate);
        let gate = net.depthwise(&gate, &format!("{name}.sg.conv"), half)?;
        let gate = net.channels_last(&gate);
        let x = net.graph.mul(&x, &gate);
        net.linear(&x, &format!("{name}.fc2"), [self.channels, half])
    }
}

/// Weights between 0 and 1 out of two convolutions of 1 × 1, with the numbers of the first, of a norm, of the second.
fn weights_of(
    net: &mut Layers,
    x: &Value,
    name: &str,
    inputs: usize,
    [first, norm, second]: [usize; 3],
    outputs: usize,
) -> Result<Value, ImportError> {
    let [few, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.{first}.weight"))?;
    let x = net.conv(x, &format!("{name}.{first}"), [few, inputs], 1)?;
    let x = batch_norm(net, &x, &format!("{name}.{norm}"), few)?;
    let x = net.gelu(&x);
    let x = net.conv(&x, &format!("{name}.{second}"), [outputs, few], 1)?;
    Ok(net.graph.sigmoid(&x))
}

/// Each channel scaled and moved as training found.
fn batch_norm(net: &mut Layers, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
    let mut values = Vec::with_capacity(4);
    for part in ["weight", "bias", "running_mean", "running_var"] {
        let tensor = net.take(&format!("{name}.{part}"), &[channels])?;
        values.push(net.graph.constant(tensor));
    }
    let inputs: Vec<&Value> = std::iter::once(x).chain(&values).collect();
    let attributes = vec![float("epsilon", BATCH_EPSILON)];
    Ok(net.graph.node("BatchNormalization", &inputs, attributes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: Vec<f32>, lines: usize) -> Weights {
        let mut weights = Weights::default();
        weights.insert(DISTANCES, Tensor::new(vec![lines, 2], values));
        weights
    }

    #[test]
    fn windows_come_from_their_distances() {
        for window in [[2, 4], [8, 32], [1, 1]] {
            let distances = all_distances(window);
            let lines = distances.len() / 2;
            assert_eq!(super::window(&of(distances, lines)), Ok(window));
        }
        let mut distances = all_distances([2, 4]);
        distances[3] = 9.0;
        assert!(window(&of(distances, 21)).is_err(), "distances of no window");
        assert!(window(&of(vec![f32::NAN, 1e30], 1)).is_err(), "no numbers");
        assert!(window(&of(vec![99.0, 99.0], 1)).is_err(), "larger than any");
    }

    /// As PyTorch's module does it: in even groups blocks 2, 6, …, in odd ones 0, 4, ….
    #[test]
    fn every_fourth_block_moves_its_windows() {
        let moving = |group| (0..8).filter(|block| moved([group, *block])).collect::<Vec<_>>();
        assert_eq!(moving(0), [2, 6]);
        assert_eq!(moving(1), [0, 4]);
    }
}
