//! Owns the building of UpCunet: RealCUGAN's ×2, ×3, ×4 and fast nets, and waifu2x's cunet, whose tensors have the same
//! names. Two U-nets, the second correcting what the first made. Nothing is padded: as much of the border is lost as
//! the convolutions take, and whoever runs the net pads around the picture. Never clamps between the two.

use super::super::error::ImportError;
use super::super::graph::{Conv, Interpolation, Value};
use super::super::weights::Weights;
use super::layers::sizes;
use super::{Built, Layers};

/// The network's name.
pub const NAME: &str = "UpCunet";

/// Slope of the leaky ReLU after nearly every convolution.
const SLOPE: f32 = 0.1;

/// Range of values inside of the "pro" nets: 0.15 to 0.85 stand for black and white.
const PRO_RANGE: f32 = 0.7;
const PRO_BLACK: f32 = 0.15;

/// Pixels that the second net takes off each side of what the first made.
const SECOND_CROP: usize = 20;

/// Input pixels that are lost on each side where the last step is a pixel shuffle: the ×4 and the fast nets add the
/// input to their result, and so it must be cut alike.
const SHUFFLED_CROP: usize = 19;

/// Whether these are its tensors.
pub fn recognises(weights: &Weights) -> bool {
    weights.has("unet1.conv1.conv.0.weight")
        && weights.has("unet1.conv_bottom.weight")
        && weights.has("unet2.conv_bottom.weight")
}

/// What a layer gives, and its channels.
#[derive(Clone)]
struct Wide {
    value: Value,
    channels: usize,
}

/// Builds its graph.
///
/// # Errors
/// [`ImportError::Missing`], [`ImportError::Shape`], and [`ImportError::UnknownNetwork`] if tensors are left over.
pub fn build(mut weights: Weights) -> Result<Built, ImportError> {
    let pro = weights.has("pro");
    if pro {
        weights.take(NAME, "pro")?;
    }
    let [_, inputs, _, _] = sizes(NAME, &weights, "unet1.conv1.conv.0.weight")?;
    let [_, _, bottom, _] = sizes(NAME, &weights, "unet1.conv_bottom.weight")?;
    let shuffled = weights.has("conv_final.weight");
    let fast = shuffled && weights.shape("conv_final.weight").and_then(<[_]>::first) == Some(&inputs);
    let channels = if fast { inputs / 4 } else { inputs };
    let (mut net, input) = Layers::new(NAME, weights, channels);
    let mut picture = input;
    if pro {
        picture = net.graph.scale(&picture, PRO_RANGE);
        let black = net.graph.scalar(PRO_BLACK);
        picture = net.graph.add(&picture, &black);
    }
    let x = Wide {
        value: if fast {
            net.graph.pixel_unshuffle(&picture, channels, 2)
        } else {
            picture.clone()
        },
        channels: inputs,
    };
    let (first, factor) = first_unet(&mut net, &x, bottom)?;
    let second = second_unet(&mut net, &first)?;
    let cut = net.graph.crop(&first.value, [SECOND_CROP; 4]);
    let mut output = net.graph.add(&second, &cut);
    if shuffled {
        output = shuffle(&mut net, &output, first.channels, channels)?;
        let (crop, scale) = if fast {
            (2 * SHUFFLED_CROP, 2.0)
        } else {
            (SHUFFLED_CROP, 4.0)
        };
        let input = net.graph.crop(&picture, [crop; 4]);
        let input = net.graph.resize(&input, scale, Interpolation::Nearest);
        output = net.graph.add(&output, &input);
    }
    if pro {
        let black = net.graph.scalar(PRO_BLACK);
        output = net.graph.sub(&output, &black);
        output = net.graph.scale(&output, PRO_RANGE.recip());
    }
    let scale = match (fast, shuffled) {
        (true, _) => 2,
        (false, true) => 2 * factor,
        (false, false) => factor,
    };
    let kind = if fast {
        ", fast"
    } else if pro {
        ", pro"
    } else {
        ""
    };
    net.finish(&output, format!("×{scale}{kind}"))
}

/// The last convolution and shuffle of the ×4 and the fast nets: a pixel less on each side by the convolution, one more
/// by the cut.
fn shuffle(net: &mut Layers, x: &Value, inputs: usize, channels: usize) -> Result<Value, ImportError> {
    let weight = net.take("conv_final.weight", &[4 * channels, inputs, 3, 3])?;
    let bias = net.take_optional("conv_final.bias", &[4 * channels])?;
    let x = net.graph.conv(x, weight, bias, Conv::default());
    let x = net.graph.crop(&x, [1; 4]);
    Ok(net.graph.pixel_shuffle(&x, 2))
}

/// The first U-net, which enlarges, and how many times: a kernel of 4 twice, one of 5 three times, one of 3 not at all.
fn first_unet(net: &mut Layers, x: &Wide, bottom: usize) -> Result<(Wide, usize), ImportError> {
    let x1 = double_conv(net, x, "unet1.conv1")?;
    let x2 = conv(net, &x1, "unet1.conv1_down", 2, 2)?;
    let x2 = double_conv(net, &x2, "unet1.conv2")?;
    let x3 = up_and_join(net, &x2, "unet1.conv2_up", &x1, 4)?;
    let x3 = conv(net, &x3, "unet1.conv3", 3, 1)?;
    let name = "unet1.conv_bottom";
    let (factor, pad) = match bottom {
        4 => (2, 3),
        5 => (3, 2),
        _ => {
            let [outputs, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.weight"))?;
            return Ok((plain_conv(net, &x3, name, outputs)?, 1));
        }
    };
    let [_, outputs, _, _] = sizes(NAME, &net.weights, &format!("{name}.weight"))?;
    let layout = Conv {
        stride: [factor; 2],
        ..Conv::padded(pad)
    };
    let up = deconv(net, &x3, name, outputs, bottom, layout)?;
    Ok((up, factor))
}

/// The second U-net, which keeps the size but for [`SECOND_CROP`] and the channels.
fn second_unet(net: &mut Layers, x: &Wide) -> Result<Value, ImportError> {
    let x1 = double_conv(net, x, "unet2.conv1")?;
    let x2 = conv(net, &x1, "unet2.conv1_down", 2, 2)?;
    let x2 = double_conv(net, &x2, "unet2.conv2")?;
    let x3 = conv(net, &x2, "unet2.conv2_down", 2, 2)?;
    let x3 = double_conv(net, &x3, "unet2.conv3")?;
    let x4 = up_and_join(net, &x3, "unet2.conv3_up", &x2, 4)?;
    let x4 = double_conv(net, &x4, "unet2.conv4")?;
    let x5 = up_and_join(net, &x4, "unet2.conv4_up", &x1, 16)?;
    let x5 = conv(net, &x5, "unet2.conv5", 3, 1)?;
    Ok(plain_conv(net, &x5, "unet2.conv_bottom", x.channels)?.value)
}

/// Two convolutions, and channels weighed by their means where there are tensors for it.
fn double_conv(net: &mut Layers, x: &Wide, name: &str) -> Result<Wide, ImportError> {
    let x = conv(net, x, &format!("{name}.conv.0"), 3, 1)?;
    let x = conv(net, &x, &format!("{name}.conv.2"), 3, 1)?;
    let squeeze = format!("{name}.seblock.conv1");
    if !net.weights.has(&format!("{squeeze}.weight")) {
        return Ok(x);
    }
    let [few, _, _, _] = sizes(NAME, &net.weights, &format!("{squeeze}.weight"))?;
    let mean = net.graph.global_mean(&x.value);
    let mean = net.conv(&mean, &squeeze, [few, x.channels], 1)?;
    let mean = net.graph.relu(&mean);
    let mean = net.conv(&mean, &format!("{name}.seblock.conv2"), [x.channels, few], 1)?;
    let gate = net.graph.sigmoid(&mean);
    Ok(Wide {
        value: net.graph.mul(&x.value, &gate),
        channels: x.channels,
    })
}

/// A convolution without padding, and the leaky ReLU.
fn conv(net: &mut Layers, x: &Wide, name: &str, kernel: usize, stride: usize) -> Result<Wide, ImportError> {
    let [outputs, _, _, _] = sizes(NAME, &net.weights, &format!("{name}.weight"))?;
    let weight = net.take(&format!("{name}.weight"), &[outputs, x.channels, kernel, kernel])?;
    let bias = net.take_optional(&format!("{name}.bias"), &[outputs])?;
    let layout = Conv {
        stride: [stride; 2],
        ..Conv::default()
    };
    let value = net.graph.conv(&x.value, weight, bias, layout);
    Ok(Wide {
        value: net.graph.leaky_relu(&value, SLOPE),
        channels: outputs,
    })
}

/// A convolution of 3 × 3 without padding, and nothing after it.
fn plain_conv(net: &mut Layers, x: &Wide, name: &str, outputs: usize) -> Result<Wide, ImportError> {
    let weight = net.take(&format!("{name}.weight"), &[outputs, x.channels, 3, 3])?;
    let bias = net.take_optional(&format!("{name}.bias"), &[outputs])?;
    Ok(Wide {
        value: net.graph.conv(&x.value, weight, bias, Conv::default()),
        channels: outputs,
    })
}

/// Twice the size, and the leaky ReLU, added to what went down before, cut by so much on each side.
fn up_and_join(
    net: &mut Layers,
    x: &Wide,
    name: &str,
    across: &Wide,
    cut: usize,
) -> Result<Wide, ImportError> {
    let layout = Conv {
        stride: [2; 2],
        ..Conv::default()
    };
    let up = deconv(net, x, name, across.channels, 2, layout)?;
    let up = net.graph.leaky_relu(&up.value, SLOPE);
    let across = Wide {
        value: net.graph.crop(&across.value, [cut; 4]),
        channels: across.channels,
    };
    Ok(Wide {
        value: net.graph.add(&across.value, &up),
        ..across
    })
}

fn deconv(
    net: &mut Layers,
    x: &Wide,
    name: &str,
    outputs: usize,
    kernel: usize,
    layout: Conv,
) -> Result<Wide, ImportError> {
    let weight = net.take(&format!("{name}.weight"), &[x.channels, outputs, kernel, kernel])?;
    let bias = net.take_optional(&format!("{name}.bias"), &[outputs])?;
    Ok(Wide {
        value: net.graph.deconv(&x.value, weight, bias, layout),
        channels: outputs,
    })
}
