//! Owns the building of SRVGG Compact, the plain convolutions of Real-ESRGAN's small networks (`realesr-general`,
//! `realesr-animevideo`): `body.0`, `body.2`, … are convolutions, the numbers between them `PReLU`, and the result is
//! added to the input's nearest pixels. Source: <https://github.com/xinntao/Real-ESRGAN>, `srvgg_arch.py`.

use super::super::error::ImportError;
use super::super::graph::Interpolation;
use super::super::weights::Weights;
use super::layers::{Layers, shuffle_factor, sizes};
use super::{Built, counted, scale_text};

/// The network's name.
pub const NAME: &str = "SRVGG Compact";

/// The first convolution.
const FIRST: &str = "body.0.weight";

/// Whether these are its tensors. Its names tell little, so the shapes must fit too.
pub fn recognises(weights: &Weights) -> bool {
    let first = weights
        .shape(FIRST)
        .is_some_and(|shape| matches!(shape, [_, _, 3, 3]));
    let plain = |name: &str| {
        let mut parts = name.split('.');
        let number = (parts.next(), parts.next());
        matches!(number, (Some("body"), Some(number)) if number.bytes().all(|byte| byte.is_ascii_digit()))
            && matches!(parts.next(), Some("weight" | "bias"))
            && parts.next().is_none()
    };
    first && weights.names().all(plain)
}

/// Builds its graph.
///
/// # Errors
/// As [`super::build`]. Networks with `ReLU` in place of `PReLU` lack `body.1.weight`: which of the two kinds they have
/// cannot be told from their tensors.
pub fn build(weights: Weights) -> Result<Built, ImportError> {
    let [features, channels, ..] = sizes::<4>(NAME, &weights, FIRST)?;
    let last = (0..weights.len())
        .take_while(|number| weights.has(&format!("body.{number}.weight")))
        .last()
        .unwrap_or(0);
    // A slope behind the last convolution, or none between two: the last number is odd then.
    let last = if last % 2 == 0 && last > 0 { last } else { last + 1 };
    let name = |number: usize| format!("body.{number}");
    let [outputs, ..] = sizes::<4>(NAME, &weights, &(name(last) + ".weight"))?;
    let Some(factor) = shuffle_factor(outputs, channels) else {
        return Err(ImportError::Shape {
            network: NAME,
            name: name(last) + ".weight",
            found: vec![outputs, features, 3, 3],
            expected: vec![channels.saturating_mul(4), features, 3, 3],
        });
    };
    let (mut layers, input) = Layers::new(NAME, weights, channels);
    let mut x = layers.conv(&input, &name(0), [features, channels], 3)?;
    x = layers.prelu(&x, &name(1), features)?;
    for number in (2..last).step_by(2) {
        x = layers.conv(&x, &name(number), [features, features], 3)?;
        x = layers.prelu(&x, &name(number + 1), features)?;
    }
    x = layers.conv(&x, &name(last), [outputs, features], 3)?;
    let mut base = input;
    if factor > 1 {
        x = layers.graph.pixel_shuffle(&x, factor);
        base = layers.graph.resize(&base, factor as f32, Interpolation::Nearest);
    }
    let output = layers.graph.add(&x, &base);
    let details = format!(
        "{} of {features} features, {}",
        counted(last / 2 + 1, "convolution"),
        scale_text(factor, 1)
    );
    layers.finish(&output, details)
}
