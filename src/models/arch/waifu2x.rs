//! Owns the building of waifu2x's plain nets: `upconv_7` (×2) and `vgg_7` (×1). Seven convolutions without padding:
//! seven pixels of the border are lost, and whoever runs the net pads around the picture. Never builds cunet, whose
//! tensors are named as those of UpCunet.

use super::super::error::ImportError;
use super::super::graph::Conv;
use super::super::weights::Weights;
use super::layers::sizes;
use super::{Built, Layers};

/// The networks' name.
pub const NAME: &str = "waifu2x upconv_7 or vgg_7";

/// What comes before the layers' numbers: in nunif, in the port of yu45020, and where a wrapper was taken off.
const PREFIXES: [&str; 3] = ["net.", "Sequential.", ""];

/// Slope of the leaky ReLU between the convolutions.
const SLOPE: f32 = 0.1;

/// Convolutions, all numbered by twos: between them stands the leaky ReLU.
const CONVOLUTIONS: usize = 7;

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    prefix(weights).is_some()
}

/// The prefix under which the seven convolutions are, the first six of 3 × 3 and the last of 3 × 3 or 4 × 4.
fn prefix(weights: &Weights) -> Option<&'static str> {
    let kernel = |prefix: &str, index: usize| match weights.shape(&format!("{prefix}{}.weight", 2 * index)) {
        Some([_, _, rows, columns]) if rows == columns => Some(*rows),
        _ => None,
    };
    PREFIXES.into_iter().find(|prefix| {
        (0..CONVOLUTIONS - 1).all(|index| kernel(prefix, index) == Some(3))
            && matches!(kernel(prefix, CONVOLUTIONS - 1), Some(3 | 4))
            && !weights.has(&format!("{prefix}{}.weight", 2 * CONVOLUTIONS))
            && !weights.has(&format!("{prefix}1.weight"))
    })
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let prefix = prefix(&weights).unwrap_or_default();
    let [_, channels, _, _] = sizes(NAME, &weights, &format!("{prefix}0.weight"))?;
    let (mut net, mut x) = Layers::new(NAME, weights, channels);
    let mut inputs = channels;
    for index in 0..CONVOLUTIONS - 1 {
        let name = format!("{prefix}{}", 2 * index);
        let [outputs, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.weight"))?;
        let weight = net.take(&format!("{name}.weight"), &[outputs, inputs, 3, 3])?;
        let bias = net.take_optional(&format!("{name}.bias"), &[outputs])?;
        x = net.graph.conv(&x, weight, bias, Conv::default());
        x = net.graph.leaky_relu(&x, SLOPE);
        inputs = outputs;
    }
    let name = format!("{prefix}{}", 2 * (CONVOLUTIONS - 1));
    let [_, _, kernel, _] = sizes(NAME, &net.weights, &format!("{name}.weight"))?;
    let bias = net.take_optional(&format!("{name}.bias"), &[channels])?;
    if kernel == 4 {
        let weight = net.take(&format!("{name}.weight"), &[inputs, channels, 4, 4])?;
        let layout = Conv {
            stride: [2; 2],
            ..Conv::padded(3)
        };
        x = net.graph.deconv(&x, weight, bias, layout);
        net.finish(&x, "upconv_7, ×2".to_owned())
    } else {
        let weight = net.take(&format!("{name}.weight"), &[channels, inputs, 3, 3])?;
        x = net.graph.conv(&x, weight, bias, Conv::default());
        net.finish(&x, "vgg_7, ×1".to_owned())
    }
}
