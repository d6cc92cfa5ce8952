//! Owns the building of ESRGAN and all that are made like it (`RRDBNet`: Real-ESRGAN, BSRGAN, RealSR, ESRGAN+): dense
//! blocks in residual blocks, then twice the rows and columns as often as there are convolutions for it.
//!
//! One network under three sets of names: those of ESRGAN when it was new (`model.1.sub.0.RDB1.conv1.0`), of its later
//! revision and BSRGAN (`RRDB_trunk.0.RDB1.conv1`), and of BasicSR and Real-ESRGAN (`body.0.rdb1.conv1`).
//! Sources: <https://arxiv.org/abs/1809.00219>, <https://arxiv.org/abs/2107.10833> (pixel-unshuffle for ×1 and ×2),
//! <https://arxiv.org/abs/2001.08073> (ESRGAN+).

use super::super::error::ImportError;
use super::super::graph::{Interpolation, Value};
use super::super::weights::Weights;
use super::layers::{Layers, sizes};
use super::{Built, counted, scale_text};

/// The network's name.
pub const NAME: &str = "ESRGAN";

/// What is left of negative values.
const SLOPE: f32 = 0.2;

/// How much of a block's result is added to what went in.
const RESIDUAL: f32 = 0.2;

/// Convolutions of a dense block.
const DENSE: usize = 5;

/// Dense blocks of a residual block.
const BLOCKS: usize = 3;

/// Doublings that are looked for: ×32, twice what anybody trains.
const DOUBLINGS_MAX: usize = 5;

/// A set of names.
#[derive(Clone, Copy)]
enum Names {
    /// `model.1.sub.0.RDB1.conv1.0`: numbers of a `Sequential`, in which upsampling and activation count.
    Numbered,
    /// `RRDB_trunk.0.RDB1.conv1`
    Trunk,
    /// `body.0.rdb1.conv1`
    Body,
}

impl Names {
    const ALL: [Self; 3] = [Self::Body, Self::Trunk, Self::Numbered];

    /// The set that these names are of.
    fn of(weights: &Weights) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|names| weights.has(&(names.dense(0, 1, "conv1") + ".weight")))
    }

    /// A convolution of a dense block (1, 2, 3) of a residual block (0, 1, …).
    fn dense(self, block: usize, dense: usize, conv: &str) -> String {
        match self {
            // The 1 × 1 convolution of ESRGAN+ stands alone, the others are the first of a sequence.
            Self::Numbered if conv == "conv1x1" => format!("model.1.sub.{block}.RDB{dense}.{conv}"),
            Self::Numbered => format!("model.1.sub.{block}.RDB{dense}.{conv}.0"),
            Self::Trunk => format!("RRDB_trunk.{block}.RDB{dense}.{conv}"),
            Self::Body => format!("body.{block}.rdb{dense}.{conv}"),
        }
    }

    /// The first convolution.
    fn first(self) -> String {
        match self {
            Self::Numbered => "model.0".to_owned(),
            Self::Trunk | Self::Body => "conv_first".to_owned(),
        }
    }

    /// The one after all residual blocks.
    fn trunk(self, blocks: usize) -> String {
        match self {
            Self::Numbered => format!("model.1.sub.{blocks}"),
            Self::Trunk => "trunk_conv".to_owned(),
            Self::Body => "conv_body".to_owned(),
        }
    }

    /// The one after a doubling (1, 2, …).
    fn doubling(self, number: usize) -> String {
        match self {
            Self::Numbered => format!("model.{}", 3 * number),
            Self::Trunk => format!("upconv{number}"),
            Self::Body => format!("conv_up{number}"),
        }
    }

    /// The last but one.
    fn fine(self, doublings: usize) -> String {
        match self {
            Self::Numbered => format!("model.{}", 3 * doublings + 2),
            Self::Trunk => "HRconv".to_owned(),
            Self::Body => "conv_hr".to_owned(),
        }
    }

    /// The last.
    fn last(self, doublings: usize) -> String {
        match self {
            Self::Numbered => format!("model.{}", 3 * doublings + 4),
            Self::Trunk | Self::Body => "conv_last".to_owned(),
        }
    }

    /// How often rows and columns are doubled.
    fn doublings(self, weights: &Weights) -> usize {
        let has = |name: String| weights.has(&(name + ".weight"));
        match self {
            // The number of the last one tells: it stands four behind the last doubling's.
            Self::Numbered => (0..=DOUBLINGS_MAX)
                .rev()
                .find(|doublings| has(self.last(*doublings)))
                .unwrap_or(0),
            Self::Trunk | Self::Body => (1..=DOUBLINGS_MAX)
                .take_while(|number| has(self.doubling(*number)))
                .count(),
        }
    }
}

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    Names::of(weights).is_some()
}

/// Lengths that the tensors tell.
struct Sizes {
    features: usize,
    growth: usize,
    blocks: usize,
    doublings: usize,
    /// Channels of the first convolution.
    inputs: usize,
    /// Channels of the last.
    outputs: usize,
}

impl Sizes {
    fn of(weights: &Weights, names: Names) -> Result<Self, ImportError> {
        let shape = |name: String| sizes::<4>(NAME, weights, &(name + ".weight"));
        let doublings = names.doublings(weights);
        let [features, inputs, ..] = shape(names.first())?;
        let [growth, ..] = shape(names.dense(0, 1, "conv1"))?;
        let [outputs, ..] = shape(names.last(doublings))?;
        let blocks = (0..weights.len())
            .take_while(|block| weights.has(&(names.dense(*block, 1, "conv1") + ".weight")))
            .count();
        Ok(Self {
            features,
            growth,
            blocks,
            doublings,
            inputs,
            outputs,
        })
    }

    /// The side of the squares of pixels that become channels first: Real-ESRGAN's way to ×2 and ×1. Other networks
    /// take as many channels as they give.
    fn unshuffle(&self) -> usize {
        [4, 2]
            .into_iter()
            .find(|side| self.inputs == self.outputs.saturating_mul(side * side))
            .unwrap_or(1)
    }
}

/// Builds its graph.
///
/// # Errors
/// As [`super::build`].
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let names = Names::of(&weights).unwrap_or(Names::Body);
    let sizes = Sizes::of(&weights, names)?;
    let unshuffle = sizes.unshuffle();
    let channels = sizes.inputs / (unshuffle * unshuffle);
    let (layers, input) = Layers::new(NAME, weights, channels);
    let mut network = Rrdb {
        names,
        layers,
        features: sizes.features,
        growth: sizes.growth,
    };
    let x = if unshuffle > 1 {
        network.layers.graph.pixel_unshuffle(&input, channels, unshuffle)
    } else {
        input
    };
    let first = network
        .layers
        .conv(&x, &names.first(), [sizes.features, sizes.inputs], 3)?;
    let mut x = first.clone();
    for block in 0..sizes.blocks {
        x = network.residual(&x, block)?;
    }
    let trunk = network.square(&x, &names.trunk(sizes.blocks))?;
    let mut x = network.layers.graph.add(&first, &trunk);
    for number in 1..=sizes.doublings {
        x = network.layers.graph.resize(&x, 2.0, Interpolation::Nearest);
        x = network.square(&x, &names.doubling(number))?;
        x = network.layers.graph.leaky_relu(&x, SLOPE);
    }
    let fine = network.square(&x, &names.fine(sizes.doublings))?;
    let fine = network.layers.graph.leaky_relu(&fine, SLOPE);
    let outputs = [sizes.outputs, sizes.features];
    let output = network
        .layers
        .conv(&fine, &names.last(sizes.doublings), outputs, 3)?;
    let details = format!(
        "{} of {} features, {}",
        counted(sizes.blocks, "block"),
        sizes.features,
        scale_text(1 << sizes.doublings, unshuffle)
    );
    network.layers.finish(&output, details)
}

/// The network in the making.
struct Rrdb {
    names: Names,
    layers: Layers,
    features: usize,
    growth: usize,
}

impl Rrdb {
    /// A convolution from features to features.
    fn square(&mut self, x: &Value, name: &str) -> Result<Value, ImportError> {
        self.layers.conv(x, name, [self.features, self.features], 3)
    }

    /// A residual block: dense blocks one after the other, and a part of that added to what went in.
    fn residual(&mut self, x: &Value, block: usize) -> Result<Value, ImportError> {
        let mut inner = x.clone();
        for dense in 1..=BLOCKS {
            inner = self.dense(&inner, block, dense)?;
        }
        Ok(self.add_part(x, &inner))
    }

    /// A dense block: each convolution sees what went in and what all before it gave.
    fn dense(&mut self, x: &Value, block: usize, dense: usize) -> Result<Value, ImportError> {
        let names = self.names;
        let name = |conv: &str| names.dense(block, dense, conv);
        // ESRGAN+ adds a 1 × 1 convolution of the input to the second result, and the second to the fourth.
        let shortcut = name("conv1x1");
        let plus = self.layers.weights.has(&format!("{shortcut}.weight"));
        let mut seen = vec![x.clone()];
        for number in 1..DENSE {
            let inputs = self.features + (number - 1) * self.growth;
            let all = self.concat(&seen);
            let conv = name(&format!("conv{number}"));
            let conv = self.layers.conv(&all, &conv, [self.growth, inputs], 3)?;
            let mut result = self.layers.graph.leaky_relu(&conv, SLOPE);
            if plus && number == 2 {
                let more = self.layers.conv(x, &shortcut, [self.growth, self.features], 1)?;
                result = self.layers.graph.add(&result, &more);
            } else if plus && number == 4 {
                result = self.layers.graph.add(&result, &seen[2]);
            }
            seen.push(result);
        }
        let inputs = self.features + (DENSE - 1) * self.growth;
        let all = self.concat(&seen);
        let last = self
            .layers
            .conv(&all, &name("conv5"), [self.features, inputs], 3)?;
        Ok(self.add_part(x, &last))
    }

    fn concat(&mut self, values: &[Value]) -> Value {
        match values {
            [one] => one.clone(),
            all => self.layers.graph.concat(&all.iter().collect::<Vec<_>>()),
        }
    }

    fn add_part(&mut self, x: &Value, result: &Value) -> Value {
        let part = self.layers.graph.scale(result, RESIDUAL);
        self.layers.graph.add(x, &part)
    }
}
