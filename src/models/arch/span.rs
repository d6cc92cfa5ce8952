//! Owns the building of SPAN: blocks whose attention has no parameters, and convolutions that were trained as several
//! and are one. Source: <https://arxiv.org/abs/2311.12770>, <https://github.com/hongyuanyu/SPAN>.

use super::super::error::ImportError;
use super::super::graph::{Conv, Value};
use super::super::weights::{Tensor, Weights};
use super::layers::{Layers, shuffle_factor, sizes};
use super::{Built, counted, scale_text};

/// The network's name.
pub const NAME: &str = "SPAN";

/// What white is to the network.
const RANGE: f32 = 255.0;

/// The mean of red, green and blue of the pictures that it was trained with; it sees the difference.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];

/// A tensor of this name says that the network takes 0..1 as it is.
const NO_NORM: &str = "no_norm";

/// Most channels that training branches may have: twice those of the widest network that people train. Merging takes
/// as many steps as their third power.
const BRANCH_CHANNELS_MAX: usize = 256;

/// Most blocks; there are six.
const BLOCKS_MAX: usize = 64;

/// Taps of a kernel of 3 × 3, and the middle one.
const TAPS: usize = 9;
const MIDDLE: usize = 4;

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    let conv = |name: &str| Branches::ALL.iter().any(|kind| weights.has(&kind.weight(name)));
    conv("conv_1") && conv("block_1.c1_r")
}

/// How a convolution is kept.
#[derive(Clone, Copy)]
enum Branches {
    /// As it was trained: 1 × 1, 3 × 3 and 1 × 1 one after the other, and another 1 × 1 beside them. What else is kept
    /// of such a file may be older than they are.
    Trained,
    /// As one.
    Merged,
}

impl Branches {
    const ALL: [Self; 2] = [Self::Trained, Self::Merged];

    /// The tensor that tells how the convolution of this name is kept, and how many channels it has.
    fn weight(self, name: &str) -> String {
        match self {
            Self::Trained => format!("{name}.sk.weight"),
            Self::Merged => format!("{name}.eval_conv.weight"),
        }
    }
}

/// Outputs and inputs of the convolution of this name.
fn channels(weights: &Weights, name: &str) -> Result<[usize; 2], ImportError> {
    let trained = Branches::Trained.weight(name);
    let name = if weights.has(&trained) {
        trained
    } else {
        Branches::Merged.weight(name)
    };
    let [outputs, inputs, ..] = sizes::<4>(NAME, weights, &name)?;
    Ok([outputs, inputs])
}

/// Builds its graph.
///
/// # Errors
/// As [`super::build`]; [`ImportError::TooLarge`] for training branches wider than any.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let [features, inputs] = channels(&weights, "conv_1")?;
    let [outputs, ..] = sizes::<4>(NAME, &weights, "upsampler.0.weight")?;
    let Some(factor) = shuffle_factor(outputs, inputs) else {
        return Err(ImportError::Shape {
            network: NAME,
            name: "upsampler.0.weight".to_owned(),
            found: vec![outputs, features, 3, 3],
            expected: vec![inputs.saturating_mul(4), features, 3, 3],
        });
    };
    let blocks = (1..=BLOCKS_MAX)
        .take_while(|block| channels(&weights, &format!("block_{block}.c1_r")).is_ok())
        .count();
    let plain = weights.has(NO_NORM);
    if !plain && inputs != MEAN.len() {
        return Err(ImportError::Missing {
            network: NAME,
            name: NO_NORM.to_owned(),
        });
    }
    let (layers, input) = Layers::new(NAME, weights, inputs);
    let mut network = Span { layers, features };
    let x = network.normalised(input);
    let first = network.conv3xc(&x, "conv_1", [features, inputs])?;
    let mut x = first.clone();
    let (mut early, mut late) = (first.clone(), first.clone());
    for block in 1..=blocks {
        (x, late) = network.block(&x, &format!("block_{block}"))?;
        if block == 1 {
            early = x.clone();
        }
    }
    let deep = network.conv3xc(&x, "conv_2", [features, features])?;
    let all = network.layers.graph.concat(&[&first, &deep, &early, &late]);
    let merged = [features, 4 * features];
    let x = network.layers.conv(&all, "conv_cat", merged, 1)?;
    let mut x = network.layers.conv(&x, "upsampler.0", [outputs, features], 3)?;
    if factor > 1 {
        x = network.layers.graph.pixel_shuffle(&x, factor);
    }
    let details = format!(
        "{} of {features} features, {}",
        counted(blocks, "block"),
        scale_text(factor, 1)
    );
    network.layers.finish(&x, details)
}

/// The network in the making.
struct Span {
    layers: Layers,
    features: usize,
}

impl Span {
    /// The input less the mean, of the range that the network knows.
    fn normalised(&mut self, input: Value) -> Value {
        // Whatever it holds, its being there is what it says.
        if self.layers.weights.take(NAME, NO_NORM).is_ok() {
            return input;
        }
        let graph = &mut self.layers.graph;
        let mean = graph.constant(Tensor::new(vec![1, MEAN.len(), 1, 1], MEAN.to_vec()));
        let difference = graph.sub(&input, &mean);
        graph.scale(&difference, RANGE)
    }

    /// A block: what it gives, and its first convolution's activated result, of which the last block's is used.
    fn block(&mut self, x: &Value, name: &str) -> Result<(Value, Value), ImportError> {
        let shape = [self.features, self.features];
        let first = self.conv3xc(x, &format!("{name}.c1_r"), shape)?;
        let first = self.layers.graph.silu(&first);
        let second = self.conv3xc(&first, &format!("{name}.c2_r"), shape)?;
        let second = self.layers.graph.silu(&second);
        let third = self.conv3xc(&second, &format!("{name}.c3_r"), shape)?;
        let graph = &mut self.layers.graph;
        let half = graph.scalar(0.5);
        let attention = graph.sigmoid(&third);
        let attention = graph.sub(&attention, &half);
        let sum = graph.add(&third, x);
        Ok((graph.mul(&sum, &attention), first))
    }

    /// A convolution of 3 × 3, merged if it was trained as several.
    fn conv3xc(&mut self, x: &Value, name: &str, shape: [usize; 2]) -> Result<Value, ImportError> {
        let (weight, bias) = if self.layers.weights.has(&Branches::Trained.weight(name)) {
            self.merged(name, shape)?
        } else {
            self.kept(name, shape)?
        };
        Ok(self.layers.graph.conv(x, weight, Some(bias), Conv::padded(1)))
    }

    fn kept(&mut self, name: &str, [outputs, inputs]: [usize; 2]) -> Result<(Tensor, Tensor), ImportError> {
        let name = format!("{name}.eval_conv");
        Ok((
            self.layers
                .take(&format!("{name}.weight"), &[outputs, inputs, 3, 3])?,
            self.layers.take(&format!("{name}.bias"), &[outputs])?,
        ))
    }

    /// Merges the training branches. The rim of zeros is put around the picture before the first of them, so a border
    /// is like any other place, and the merged convolution computes the same there too.
    fn merged(&mut self, name: &str, [outputs, inputs]: [usize; 2]) -> Result<(Tensor, Tensor), ImportError> {
        let layers = &mut self.layers;
        let weight = |part: &str| format!("{name}.{part}.weight");
        let [wide, narrow, ..] = sizes::<4>(NAME, &layers.weights, &weight("conv.1"))?;
        let widest = wide.max(narrow).max(outputs).max(inputs);
        if widest > BRANCH_CHANNELS_MAX {
            let what = format!("{widest} channels in {name}, where {NAME} has {BRANCH_CHANNELS_MAX} at most");
            return Err(ImportError::TooLarge(what));
        }
        let mut take = |part: &str, [outputs, inputs, side]: [usize; 3]| {
            let weight = layers.take(&weight(part), &[outputs, inputs, side, side])?;
            let bias = layers.take(&format!("{name}.{part}.bias"), &[outputs])?;
            Ok::<_, ImportError>((weight, bias))
        };
        let expand = take("conv.0", [narrow, inputs, 1])?;
        let middle = take("conv.1", [wide, narrow, 3])?;
        let reduce = take("conv.2", [outputs, wide, 1])?;
        let beside = take("sk", [outputs, inputs, 1])?;
        // What was merged when the file was written; the branches say the same or something newer.
        layers.take_optional(&format!("{name}.eval_conv.weight"), &[outputs, inputs, 3, 3])?;
        layers.take_optional(&format!("{name}.eval_conv.bias"), &[outputs])?;
        Ok(merge([&expand, &middle, &reduce], &beside))
    }
}

/// One convolution, weight and bias, for 1 × 1, 3 × 3 and 1 × 1 one after the other and a 1 × 1 beside them.
fn merge([expand, middle, reduce]: [&(Tensor, Tensor); 3], beside: &(Tensor, Tensor)) -> (Tensor, Tensor) {
    let (narrow, inputs) = (expand.0.shape()[0], expand.0.shape()[1]);
    let (wide, outputs) = (middle.0.shape()[0], reduce.0.shape()[0]);
    // Rows of these are taps × inputs, and the bias behind them: it takes the same way.
    let row = TAPS * inputs + 1;
    let mut inner = vec![0.0_f64; wide * row];
    for (wide, sums) in inner.chunks_exact_mut(row).enumerate() {
        sums[row - 1] = f64::from(middle.1.values()[wide]);
        for narrow_index in 0..narrow {
            let taps = &middle.0.values()[(wide * narrow + narrow_index) * TAPS..][..TAPS];
            let from = &expand.0.values()[narrow_index * inputs..][..inputs];
            for (sums, tap) in sums.chunks_exact_mut(inputs).zip(taps) {
                add_scaled(sums, f64::from(*tap), from.iter().map(|value| f64::from(*value)));
            }
            let bias = f64::from(expand.1.values()[narrow_index]);
            sums[row - 1] += bias * taps.iter().map(|tap| f64::from(*tap)).sum::<f64>();
        }
    }
    let mut weight = vec![0.0_f32; outputs * inputs * TAPS];
    let mut bias = vec![0.0_f32; outputs];
    for output in 0..outputs {
        let mut sums = vec![0.0_f64; row];
        for (factor, inner) in reduce.0.values()[output * wide..][..wide]
            .iter()
            .zip(inner.chunks_exact(row))
        {
            add_scaled(&mut sums, f64::from(*factor), inner.iter().copied());
        }
        for input in 0..inputs {
            let skip = f64::from(beside.0.values()[output * inputs + input]);
            for tap in 0..TAPS {
                let skip = if tap == MIDDLE { skip } else { 0.0 };
                weight[(output * inputs + input) * TAPS + tap] = (sums[tap * inputs + input] + skip) as f32;
            }
        }
        let biases = f64::from(reduce.1.values()[output]) + f64::from(beside.1.values()[output]);
        bias[output] = (sums[row - 1] + biases) as f32;
    }
    (
        Tensor::new(vec![outputs, inputs, 3, 3], weight),
        Tensor::new(vec![outputs], bias),
    )
}

fn add_scaled(sums: &mut [f64], factor: f64, values: impl Iterator<Item = f64>) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}
