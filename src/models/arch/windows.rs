//! Owns what transformers for images have in common: linear layers, norms, and attention inside of windows. Pictures go
//! as tiles × rows × columns × channels, windows as tiles × windows × pixels × channels; rows and columns are known
//! only when the graph runs and must be whole windows: a graph of other sizes fails, and so whoever runs it finds out.
//! Never knows a network.

use super::super::error::ImportError;
use super::super::graph::{Conv, Value, float, int, ints};
use super::super::weights::Tensor;
use super::Layers;
use super::layers::sizes;
use crate::inference::onnx::proto::DataType;

/// What is added to the likeness of pixels that must not see each other; e⁻¹⁰⁰ is nothing.
const APART: f32 = -100.0;

/// What keeps a norm from dividing by zero, PyTorch's.
const NORM_EPSILON: f32 = 1e-5;

/// What keeps the scaling to length 1 from dividing by zero, PyTorch's.
const LENGTH_LEAST: f32 = 1e-12;

impl Layers {
    /// x · weightᵀ + bias along the last axis; `weight`: outputs × inputs.
    ///
    /// # Errors
    /// As [`Weights::take_shaped`](super::super::weights::Weights::take_shaped).
    pub fn linear(
        &mut self,
        x: &Value,
        name: &str,
        [outputs, inputs]: [usize; 2],
    ) -> Result<Value, ImportError> {
        let weight = self.take(&format!("{name}.weight"), &[outputs, inputs])?;
        let weight = self.graph.constant(transposed(&weight, outputs, inputs));
        let product = self.graph.node("MatMul", &[x, &weight], Vec::new());
        let Some(bias) = self.take_optional(&format!("{name}.bias"), &[outputs])? else {
            return Ok(product);
        };
        let bias = self.graph.constant(bias);
        Ok(self.graph.add(&product, &bias))
    }

    /// Mean 0 and variance 1 along the last axis, then a weight and a bias for each of its values.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub fn layer_norm(&mut self, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
        self.layer_norm_within(x, name, channels, NORM_EPSILON)
    }

    /// [`Layers::layer_norm`] with something else that keeps it from dividing by zero.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub fn layer_norm_within(
        &mut self,
        x: &Value,
        name: &str,
        channels: usize,
        epsilon: f32,
    ) -> Result<Value, ImportError> {
        let weight = self.take(&format!("{name}.weight"), &[channels])?;
        let bias = self.take(&format!("{name}.bias"), &[channels])?;
        let (weight, bias) = (self.graph.constant(weight), self.graph.constant(bias));
        let attributes = vec![int("axis", -1), float("epsilon", epsilon)];
        Ok(self
            .graph
            .node("LayerNormalization", &[x, &weight, &bias], attributes))
    }

    /// x · Φ(x), exactly.
    pub fn gelu(&mut self, x: &Value) -> Value {
        let scaled = self.graph.scale(x, std::f32::consts::FRAC_1_SQRT_2);
        let erf = self.graph.node("Erf", &[&scaled], Vec::new());
        let one = self.graph.scalar(1.0);
        let gate = self.graph.add(&erf, &one);
        let gated = self.graph.mul(x, &gate);
        self.graph.scale(&gated, 0.5)
    }

    /// Axes in another order.
    pub fn transpose(&mut self, x: &Value, order: &[usize]) -> Value {
        self.graph.node("Transpose", &[x], vec![ints("perm", order)])
    }

    /// Another shape; 0 stands for the length at that place, −1 for what is left.
    pub fn reshape(&mut self, x: &Value, shape: &[i64]) -> Value {
        let shape = self.graph.ints(shape);
        self.graph.node("Reshape", &[x, &shape], Vec::new())
    }

    /// Channels last.
    pub fn channels_last(&mut self, x: &Value) -> Value {
        self.transpose(x, &[0, 2, 3, 1])
    }

    /// Channels before rows and columns.
    pub fn channels_first(&mut self, x: &Value) -> Value {
        self.transpose(x, &[0, 3, 1, 2])
    }

    /// The same picture (channels last), beginning so many rows and columns later; what comes before follows at the end.
    /// Less than none: earlier, with as many from the end before the beginning.
    pub fn rolled(&mut self, x: &Value, [rows, columns]: [i64; 2]) -> Value {
        let mut x = x.clone();
        for (axis, by) in [(1, rows), (2, columns)] {
            if by != 0 {
                let (zero, end) = (self.graph.ints(&[0]), self.graph.ints(&[i64::MAX]));
                let (by, axes) = (self.graph.ints(&[by]), self.graph.ints(&[axis]));
                let last = self.graph.node("Slice", &[&x, &by, &end, &axes], Vec::new());
                let first = self.graph.node("Slice", &[&x, &zero, &by, &axes], Vec::new());
                x = self
                    .graph
                    .node("Concat", &[&last, &first], vec![int("axis", axis)]);
            }
        }
        x
    }

    /// Two linear layers, `fc1` and `fc2`, and a GELU between.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub fn mlp(&mut self, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
        let [hidden, _] = sizes(self.network(), &self.weights, &format!("{name}.fc1.weight"))?;
        let x = self.linear(x, &format!("{name}.fc1"), [hidden, channels])?;
        let x = self.gelu(&x);
        self.linear(&x, &format!("{name}.fc2"), [channels, hidden])
    }

    /// x + MLP(norm(x)), of the tensors `NAME.norm2` and `NAME.mlp`.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub fn residual_mlp(&mut self, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
        let y = self.layer_norm(x, &format!("{name}.norm2"), channels)?;
        let y = self.mlp(&y, &format!("{name}.mlp"), channels)?;
        Ok(self.graph.add(x, &y))
    }

    /// A bias for each pair of pixels of a window and each head, out of a table with one for each distance.
    /// `index`: for each pair its line in the table. Heads × pixels × pixels seen.
    pub fn pair_bias(&mut self, table: &Value, index: &Value, [pixels, seen]: [usize; 2]) -> Value {
        let lines = self.graph.node("Gather", &[table, index], vec![int("axis", 0)]);
        let by_head = self.transpose(&lines, &[1, 0]);
        self.reshape(&by_head, &[-1, pixels as i64, seen as i64])
    }

    /// What each pixel of a window gathers from those that it sees: softmax(q · kᵀ · scale + bias) · v, `queries`,
    /// `keys` and what is gathered as tiles × windows × heads × pixels × channels of a head.
    pub fn attend(&mut self, [q, k, v]: [&Value; 3], scale: f32, biases: &[&Value]) -> Value {
        let q = self.graph.scale(q, scale);
        let k = self.transpose(k, &[0, 1, 2, 4, 3]);
        let mut likeness = self.graph.node("MatMul", &[&q, &k], Vec::new());
        for bias in biases {
            likeness = self.graph.add(&likeness, bias);
        }
        let shares = self.graph.node("Softmax", &[&likeness], vec![int("axis", -1)]);
        self.graph.node("MatMul", &[&shares, v], Vec::new())
    }

    /// Windows whose channels are `PARTS` values of each head, one part after the other, as that many with heads.
    pub fn heads<const PARTS: usize>(&mut self, x: &Value, size: HeadSize) -> [Value; PARTS] {
        let x = self.reshape(x, &[0, 0, -1, (PARTS * size.heads) as i64, size.channels as i64]);
        let x = self.transpose(&x, &[0, 1, 3, 2, 4]);
        self.graph.nodes_of("Split", &[&x], vec![int("axis", 2)])
    }

    /// The reverse of [`Layers::heads`] for one part.
    pub fn joined(&mut self, x: &Value, size: HeadSize) -> Value {
        let x = self.transpose(x, &[0, 1, 3, 2, 4]);
        self.reshape(&x, &[0, 0, -1, (size.heads * size.channels) as i64])
    }

    /// What each channel gathers from the channels of its head by how alike they are over all pixels of a window; the
    /// likenesses are multiplied by a `temperature` for each head. As [`Layers::attend`], with channels for pixels.
    pub fn attend_channels(&mut self, [q, k, v]: [&Value; 3], temperature: &Value) -> Value {
        let [q, k] = [q, k].map(|x| {
            let length = self.graph.node("ReduceL2", &[x], vec![ints("axes", &[3])]);
            let least = self.graph.scalar(LENGTH_LEAST);
            let length = self.graph.node("Max", &[&length, &least], Vec::new());
            self.graph.node("Div", &[x, &length], Vec::new())
        });
        let q = self.transpose(&q, &[0, 1, 2, 4, 3]);
        let likeness = self.graph.node("MatMul", &[&q, &k], Vec::new());
        let likeness = self.graph.mul(&likeness, temperature);
        let shares = self.graph.node("Softmax", &[&likeness], vec![int("axis", -1)]);
        // Pixels stay rows: (shares · vᵀ)ᵀ = v · sharesᵀ.
        let shares = self.transpose(&shares, &[0, 1, 2, 4, 3]);
        self.graph.node("MatMul", &[v, &shares], Vec::new())
    }

    /// A convolution of 3 × 3 for each channel by itself, that keeps rows and columns.
    ///
    /// # Errors
    /// As [`Layers::linear`].
    pub fn depthwise(&mut self, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
        let weight = self.take(&format!("{name}.weight"), &[channels, 1, 3, 3])?;
        let bias = self.take_optional(&format!("{name}.bias"), &[channels])?;
        let layout = Conv {
            groups: channels,
            ..Conv::padded(1)
        };
        Ok(self.graph.conv(x, weight, bias, layout))
    }
}

/// Heads of an attention, and channels of each.
#[derive(Debug, Clone, Copy)]
pub struct HeadSize {
    /// Heads.
    pub heads: usize,
    /// Channels of each.
    pub channels: usize,
}

impl HeadSize {
    /// What likenesses are scaled by.
    pub fn scale(self) -> f32 {
        (self.channels as f32).sqrt().recip()
    }
}

/// Tiles, rows and columns of a picture, as the graph finds them.
pub struct Frame {
    /// Tiles, in a list of one.
    pub tiles: Value,
    /// Rows, in a list of one.
    pub rows: Value,
    /// Columns, in a list of one.
    pub columns: Value,
}

impl Frame {
    /// Those of this picture, channels before rows and columns.
    pub fn of(net: &mut Layers, x: &Value) -> Self {
        let shape = net.graph.node("Shape", &[x], Vec::new());
        let mut at = |place: i64| {
            let place = net.graph.ints(&[place]);
            net.graph.node("Gather", &[&shape, &place], vec![int("axis", 0)])
        };
        Self {
            tiles: at(0),
            rows: at(2),
            columns: at(3),
        }
    }
}

/// Which pixels are of one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// Neighbours, as many as the window has rows and columns.
    Block,
    /// As many, and spread over the picture evenly.
    Spread,
    /// All that are at the same place of a block: as many as there are blocks, spread over the picture.
    Phase,
}

/// The cutting of pictures of a frame and so many channels into windows.
pub struct Grid {
    window: [usize; 2],
    pattern: Pattern,
    channels: usize,
    /// Tiles, rows as two numbers, columns as two numbers, channels: the picture, cut.
    cut: Value,
    /// The same numbers, those of windows before those of pixels.
    sorted: Value,
    /// Tiles × rows × columns × channels.
    whole: Value,
    rows: Value,
    columns: Value,
}

impl Grid {
    /// Windows of so many rows and columns.
    pub fn new(
        net: &mut Layers,
        frame: &Frame,
        window: [usize; 2],
        channels: usize,
        pattern: Pattern,
    ) -> Self {
        let [high, wide, deep] = [window[0], window[1], channels].map(|len| net.graph.ints(&[len as i64]));
        let down = net.graph.node("Div", &[&frame.rows, &high], Vec::new());
        let across = net.graph.node("Div", &[&frame.columns, &wide], Vec::new());
        let mut shape = |parts: [&Value; 4]| {
            let [a, b, c, d] = parts;
            let parts = [&frame.tiles, a, b, c, d, &deep];
            net.graph.node("Concat", &parts, vec![int("axis", 0)])
        };
        let cut = match pattern {
            Pattern::Block | Pattern::Phase => shape([&down, &high, &across, &wide]),
            Pattern::Spread => shape([&high, &down, &wide, &across]),
        };
        let sorted = match pattern {
            Pattern::Block | Pattern::Spread => shape([&down, &across, &high, &wide]),
            Pattern::Phase => shape([&high, &wide, &down, &across]),
        };
        let whole = [&frame.tiles, &frame.rows, &frame.columns, &deep];
        Self {
            window,
            pattern,
            channels,
            cut,
            sorted,
            whole: net.graph.node("Concat", &whole, vec![int("axis", 0)]),
            rows: frame.rows.clone(),
            columns: frame.columns.clone(),
        }
    }

    /// Pixels of a block.
    pub fn pixels(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// A picture, channels last, as windows.
    pub fn windows(&self, net: &mut Layers, x: &Value) -> Value {
        let x = net.graph.node("Reshape", &[x, &self.cut], Vec::new());
        let (order, windows, pixels): (_, i64, i64) = match self.pattern {
            Pattern::Block => ([0, 1, 3, 2, 4, 5], -1, self.pixels() as i64),
            Pattern::Spread => ([0, 2, 4, 1, 3, 5], -1, self.pixels() as i64),
            Pattern::Phase => ([0, 2, 4, 1, 3, 5], self.pixels() as i64, -1),
        };
        let x = net.transpose(&x, &order);
        net.reshape(&x, &[0, windows, pixels, self.channels as i64])
    }

    /// The reverse of [`Grid::windows`].
    pub fn picture(&self, net: &mut Layers, x: &Value) -> Value {
        let x = net.graph.node("Reshape", &[x, &self.sorted], Vec::new());
        let order = match self.pattern {
            Pattern::Block => [0, 1, 3, 2, 4, 5],
            Pattern::Spread | Pattern::Phase => [0, 3, 1, 4, 2, 5],
        };
        let x = net.transpose(&x, &order);
        net.graph.node("Reshape", &[&x, &self.whole], Vec::new())
    }

    /// What to add to likenesses in windows of a picture that was [rolled](Layers::rolled) by so much: in the last ones
    /// pixels of opposite borders meet and must not see each other. Windows × 1 × pixels × pixels; of blocks only.
    pub fn apart(&self, net: &mut Layers, [rows, columns]: [usize; 2]) -> Value {
        let down = came_round(net, &self.rows, rows);
        let across = came_round(net, &self.columns, columns);
        let down = net.reshape(&down, &[1, -1, 1]);
        let across = net.reshape(&across, &[1, 1, -1]);
        let across = net.graph.scale(&across, 2.0);
        let corner = net.graph.add(&down, &across);
        // The corner's number is that of both: 0 in the middle, 1 below, 2 at the right, 3 below at the right.
        let [high, wide] = self.window.map(|side| net.graph.ints(&[side as i64]));
        let (down, across) = (
            net.graph.node("Div", &[&self.rows, &high], Vec::new()),
            net.graph.node("Div", &[&self.columns, &wide], Vec::new()),
        );
        let shape = [&down, &high, &across, &wide];
        let shape = net.graph.node("Concat", &shape, vec![int("axis", 0)]);
        let cut = net.graph.node("Reshape", &[&corner, &shape], Vec::new());
        let sorted = net.transpose(&cut, &[0, 2, 1, 3]);
        let pixels = self.pixels() as i64;
        let from = net.reshape(&sorted, &[-1, 1, pixels, 1]);
        let to = net.reshape(&sorted, &[-1, 1, 1, pixels]);
        let same = net.graph.node("Equal", &[&from, &to], Vec::new());
        let (nothing, apart) = (net.graph.scalar(0.0), net.graph.scalar(APART));
        net.graph.node("Where", &[&same, &nothing, &apart], Vec::new())
    }
}

/// For each row (or column) 1 if it came round from the other border when the picture was rolled by so much, else 0.
fn came_round(net: &mut Layers, length: &Value, rolled: usize) -> Value {
    let rolled = net.graph.ints(&[rolled as i64]);
    let first = net.graph.node("Sub", &[length, &rolled], Vec::new());
    let (zero, one) = (net.graph.ints(&[0]), net.graph.ints(&[1]));
    // A range goes from number to number, and lengths are lists of one.
    let [zero, end, one] = [&zero, length, &one].map(|list| net.graph.node("Squeeze", &[list], Vec::new()));
    let places = net.graph.node("Range", &[&zero, &end, &one], Vec::new());
    let round = net.graph.node("GreaterOrEqual", &[&places, &first], Vec::new());
    net.graph
        .node("Cast", &[&round], vec![int("to", DataType::Float as i64)])
}

/// Rows and columns exchanged.
fn transposed(matrix: &Tensor, rows: usize, columns: usize) -> Tensor {
    let values = matrix.values();
    let turned = (0..rows * columns).map(|place| values[(place % rows) * columns + place / rows]);
    Tensor::new(vec![columns, rows], turned.collect())
}
