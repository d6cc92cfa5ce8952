//! Owns the building of OmniSR: attention among pixels and among channels, inside of blocks and spread over the
//! picture. Any width, depth and window. Never pads with black, as the module does where the windows do not fit.

use super::super::error::ImportError;
use super::super::graph::{Conv, Graph, Value, int, ints, text};
use super::super::weights::Weights;
use super::attention::{distances, side_of};
use super::ends::Whole;
use super::layers::{shuffle_factor, sizes};
use super::windows::{Frame, Grid, HeadSize, Pattern};
use super::{Built, Layers, counted, scale_text};

/// The network's name.
pub const NAME: &str = "OmniSR";

/// Heads of all attentions.
const HEADS: usize = 4;

/// Side of the windows where no table of distances tells it.
const SIDE_USUAL: usize = 8;

/// What keeps the norm over channels from dividing by zero.
const NORM_EPSILON: f32 = 1e-6;

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    weights.has("residual_layer.0.residual_layer.0.layer.0.fn.0.weight")
        && weights.has("input.weight")
        && weights.has("up.0.weight")
}

/// What all blocks have in common.
struct Body {
    channels: usize,
    /// Neighbours, pixels that are spread, and pixels at the same place of a block.
    block: Grid,
    spread: Grid,
    phase: Grid,
    /// For each pair of pixels of a window the line of the table of distances.
    index: Value,
    /// Lines of the table.
    lines: usize,
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over or
/// no window fits them.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let [features, channels, _, _] = sizes(NAME, &weights, "input.weight")?;
    let [outputs, _, _, _] = sizes(NAME, &weights, "up.0.weight")?;
    let table = "residual_layer.0.residual_layer.0.layer.2.fn.rel_pos_bias.weight";
    let side = if weights.has(table) {
        let [lines, _] = sizes(NAME, &weights, table)?;
        side_of(NAME, lines)?
    } else {
        SIDE_USUAL
    };
    let wrong = |expected: [usize; 4]| ImportError::Shape {
        network: NAME,
        name: "up.0.weight".to_owned(),
        found: weights.shape("up.0.weight").unwrap_or_default().to_vec(),
        expected: expected.to_vec(),
    };
    let factor = shuffle_factor(outputs, channels).ok_or_else(|| wrong([4 * channels, features, 3, 3]))?;
    if features % HEADS != 0 {
        return Err(wrong([outputs, features.next_multiple_of(HEADS), 3, 3]));
    }

    let (mut net, input) = Layers::new(NAME, weights, channels);
    let whole = Whole::new(&mut net, &input, side);
    let shallow = net.conv(&whole.picture, "input", [features, channels], 3)?;
    let frame = Frame::of(&mut net, &shallow);
    let mut grid = |pattern| Grid::new(&mut net, &frame, [side; 2], features, pattern);
    let (block, spread, phase) = (grid(Pattern::Block), grid(Pattern::Spread), grid(Pattern::Phase));
    let body = Body {
        channels: features,
        block,
        spread,
        phase,
        index: net.graph.ints(&distances([side; 2])),
        lines: (2 * side - 1) * (2 * side - 1),
    };
    let (mut x, mut blocks, mut group) = (shallow.clone(), 0, 0);
    while net
        .weights
        .has(&format!("residual_layer.{group}.esa.conv1.weight"))
    {
        let (y, depth) = body.group(&mut net, &x, &format!("residual_layer.{group}"))?;
        (x, blocks, group) = (y, blocks + depth, group + 1);
    }
    let x = net.conv(&x, "output", [features, features], 3)?;
    let x = net.graph.add(&x, &shallow);
    let x = net.conv(&x, "up.0", [outputs, features], 3)?;
    let x = net.graph.pixel_shuffle(&x, factor);
    let output = whole.cut(&mut net, &x, factor, 1);
    let details = format!(
        "{} of {features} features, windows of {side}, {}",
        counted(blocks, "block"),
        scale_text(factor, 1)
    );
    net.finish(&output, details)
}

impl Body {
    /// Blocks, a convolution, and pixels weighed by what is around them; and the number of blocks.
    fn group(&self, net: &mut Layers, x: &Value, name: &str) -> Result<(Value, usize), ImportError> {
        let (mut y, mut depth) = (x.clone(), 0);
        loop {
            let layer = format!("{name}.residual_layer.{depth}");
            if !net.weights.has(&format!("{layer}.layer.0.fn.0.weight")) {
                y = net.conv(&y, &layer, [self.channels; 2], 1)?;
                break;
            }
            y = self.block(net, &y, &format!("{layer}.layer"))?;
            depth += 1;
        }
        let y = net.graph.add(&y, x);
        let y = enhanced(net, &y, &format!("{name}.esa"), self.channels)?;
        Ok((y, depth))
    }

    /// Attention among pixels and among channels, inside of blocks and then spread over the picture.
    fn block(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let x = self.local(net, x, &format!("{name}.0.fn"))?;
        let x = self.pixels(net, &x, &format!("{name}.2"), &self.block)?;
        let x = self.gated(net, &x, &format!("{name}.4"))?;
        let x = self.among_channels(net, &x, &format!("{name}.5"), &self.block)?;
        let x = self.gated(net, &x, &format!("{name}.6"))?;
        let x = self.pixels(net, &x, &format!("{name}.8"), &self.spread)?;
        let x = self.gated(net, &x, &format!("{name}.10"))?;
        let x = self.among_channels(net, &x, &format!("{name}.11"), &self.phase)?;
        self.gated(net, &x, &format!("{name}.12"))
    }

    /// Convolutions of 1 × 1, of each channel, and of 1 × 1, with channels weighed by their means.
    fn local(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let [wide, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.0.weight"))?;
        let y = net.conv(x, &format!("{name}.0"), [wide, self.channels], 1)?;
        let y = net.gelu(&y);
        let y = net.depthwise(&y, &format!("{name}.2"), wide)?;
        let y = net.gelu(&y);
        let squeeze = format!("{name}.4.gate.1");
        let [few, _] = sizes(NAME, &net.weights, &format!("{squeeze}.weight"))?;
        let mean = net.graph.global_mean(&y);
        let mean = net.channels_last(&mean);
        let mean = net.linear(&mean, &squeeze, [few, wide])?;
        let mean = net.graph.silu(&mean);
        let mean = net.linear(&mean, &format!("{name}.4.gate.3"), [wide, few])?;
        let gate = net.graph.sigmoid(&mean);
        let gate = net.channels_first(&gate);
        let y = net.graph.mul(&y, &gate);
        let y = net.conv(&y, &format!("{name}.5"), [self.channels, wide], 1)?;
        Ok(net.graph.add(&y, x))
    }

    fn head_size(&self) -> HeadSize {
        HeadSize {
            heads: HEADS,
            channels: self.channels / HEADS,
        }
    }

    /// Attention among the pixels of windows, added to what it is given.
    fn pixels(&self, net: &mut Layers, x: &Value, name: &str, grid: &Grid) -> Result<Value, ImportError> {
        let (features, heads) = (self.channels, self.head_size());
        let table = format!("{name}.fn.rel_pos_bias.weight");
        let bias = if net.weights.has(&table) {
            let table = net.take(&table, &[self.lines, HEADS])?;
            let table = net.graph.constant(table);
            Some(net.pair_bias(&table, &self.index, [grid.pixels(); 2]))
        } else {
            None
        };
        let x = net.channels_last(x);
        let y = net.layer_norm(&x, &format!("{name}.norm"), features)?;
        let y = grid.windows(net, &y);
        let y = net.linear(&y, &format!("{name}.fn.to_qkv"), [3 * features, features])?;
        let [q, k, v] = net.heads(&y, heads);
        let biases: Vec<&Value> = bias.iter().collect();
        let y = net.attend([&q, &k, &v], heads.scale(), &biases);
        let y = net.joined(&y, heads);
        let y = net.linear(&y, &format!("{name}.fn.to_out.0"), [features, features])?;
        let y = grid.picture(net, &y);
        let x = net.graph.add(&x, &y);
        Ok(net.channels_first(&x))
    }

    /// Attention among the channels of windows, added to what it is given.
    fn among_channels(
        &self,
        net: &mut Layers,
        x: &Value,
        name: &str,
        grid: &Grid,
    ) -> Result<Value, ImportError> {
        let (features, heads) = (self.channels, self.head_size());
        let y = self.norm(net, x, &format!("{name}.norm"))?;
        let y = net.conv(&y, &format!("{name}.fn.qkv"), [3 * features, features], 1)?;
        let y = net.depthwise(&y, &format!("{name}.fn.qkv_dwconv"), 3 * features)?;
        let parts: [Value; 3] = net.graph.nodes_of("Split", &[&y], vec![int("axis", 1)]);
        let [q, k, v] = parts.map(|part| {
            let part = net.channels_last(&part);
            let part = grid.windows(net, &part);
            let [part] = net.heads(&part, heads);
            part
        });
        let temperature = net.take(&format!("{name}.fn.temperature"), &[HEADS, 1, 1])?;
        let temperature = net.graph.constant(temperature);
        let y = net.attend_channels([&q, &k, &v], &temperature);
        let y = net.joined(&y, heads);
        let y = grid.picture(net, &y);
        let y = net.channels_first(&y);
        let y = net.conv(&y, &format!("{name}.fn.project_out"), [features, features], 1)?;
        Ok(net.graph.add(x, &y))
    }

    /// Convolutions whose one half gates the other, added to what they are given.
    fn gated(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let out = format!("{name}.fn.project_out");
        let [_, hidden, _, _] = sizes(NAME, &net.weights, &format!("{out}.weight"))?;
        let y = self.norm(net, x, &format!("{name}.norm"))?;
        let y = net.conv(
            &y,
            &format!("{name}.fn.project_in"),
            [2 * hidden, self.channels],
            1,
        )?;
        let y = net.depthwise(&y, &format!("{name}.fn.dwconv"), 2 * hidden)?;
        let [gate, y] = net.graph.nodes_of("Split", &[&y], vec![int("axis", 1)]);
        let gate = net.gelu(&gate);
        let y = net.graph.mul(&gate, &y);
        let y = net.conv(&y, &out, [self.channels, hidden], 1)?;
        Ok(net.graph.add(x, &y))
    }

    /// Mean 0 and variance 1 over the channels of each pixel, then a weight and a bias for each channel.
    fn norm(&self, net: &mut Layers, x: &Value, name: &str) -> Result<Value, ImportError> {
        let x = net.channels_last(x);
        let x = net.layer_norm_within(&x, name, self.channels, NORM_EPSILON)?;
        Ok(net.channels_first(&x))
    }
}

/// Each pixel weighed by itself and by the greatest of what is around it, seen from afar.
fn enhanced(net: &mut Layers, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
    let [few, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.conv1.weight"))?;
    let fine = net.conv(x, &format!("{name}.conv1"), [few, channels], 1)?;
    let weight = net.take(&format!("{name}.conv2.weight"), &[few, few, 3, 3])?;
    let bias = net.take_optional(&format!("{name}.conv2.bias"), &[few])?;
    let halved = Conv {
        stride: [2; 2],
        ..Conv::default()
    };
    let coarse = net.graph.conv(&fine, weight, bias, halved);
    let attributes = vec![ints("kernel_shape", &[7, 7]), ints("strides", &[3, 3])];
    let coarse = net.graph.node("MaxPool", &[&coarse], attributes);
    let coarse = net.conv(&coarse, &format!("{name}.conv3"), [few, few], 3)?;
    let coarse = as_large_as(net, &coarse, x);
    let fine = net.conv(&fine, &format!("{name}.conv_f"), [few, few], 1)?;
    let both = net.graph.add(&coarse, &fine);
    let both = net.conv(&both, &format!("{name}.conv4"), [channels, few], 1)?;
    let gate = net.graph.sigmoid(&both);
    Ok(net.graph.mul(x, &gate))
}

/// Rows and columns of the other, by straight lines between.
fn as_large_as(net: &mut Layers, x: &Value, other: &Value) -> Value {
    let [own, wanted] = [x, other].map(|picture| net.graph.node("Shape", &[picture], Vec::new()));
    let [zero, two, four] = [0, 2, 4].map(|place| net.graph.ints(&[place]));
    let own = net.graph.node("Slice", &[&own, &zero, &two], Vec::new());
    let wanted = net.graph.node("Slice", &[&wanted, &two, &four], Vec::new());
    let sizes = net.graph.node("Concat", &[&own, &wanted], vec![int("axis", 0)]);
    let nothing = Graph::absent();
    let attributes = vec![
        text("mode", "linear"),
        text("coordinate_transformation_mode", "half_pixel"),
    ];
    net.graph
        .node("Resize", &[x, &nothing, &nothing, &sizes], attributes)
}
