//! Owns what can be typed behind `upscaled models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::JsonArg;

/// `models …`
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List the models
    #[command(after_help = "Example:\n  upscaled models list")]
    List(JsonArg),
    /// Tell everything about a model
    #[command(after_help = "Example:\n  upscaled models show span-x4")]
    Show {
        /// The model's name
        #[arg(value_name = "M")]
        model: String,
        /// A card.
        #[command(flatten)]
        json: JsonArg,
    },
    /// Bring weights: .pth, .safetensors, ncnn (.param beside .bin) and .onnx become models with a name
    ///
    /// Nothing of the file is run; the network is recognised by its tensors and built anew. It is examined once, which
    /// may take a minute, and put into models/ of the state directory.
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Take models out of the state directory
    #[command(after_help = "Example:\n  upscaled models remove mine")]
    Remove {
        /// The models' names
        #[arg(value_name = "M", required = true)]
        models: Vec<String>,
    },
    /// Hold what each configured provider makes of a patch against what the processor made of it
    ///
    /// Ends with 1 if one differs by more than a level of 255 (fp32) or is below 50 dB (fp16).
    #[command(after_help = "Example:\n  upscaled models verify span-x4")]
    Verify {
        /// The model's name
        #[arg(value_name = "M")]
        model: String,
        /// An array, one object for each provider.
        #[command(flatten)]
        json: JsonArg,
    },
    /// Measure how long windows of many shapes take here, so that plans take the fastest that fits
    ///
    /// Takes a minute or two. The result is kept in the state directory and used from the next picture on.
    #[command(after_help = "Example:\n  upscaled models tune span-x4")]
    Tune {
        /// The model's name
        #[arg(value_name = "M")]
        model: String,
        /// An object: where it was measured, the profile, and the fastest shape.
        #[command(flatten)]
        json: JsonArg,
    },
}

/// What `models import` reads.
const IMPORT_HELP: &str = "Networks whose tensors are recognised (.pth, .safetensors): ESRGAN and Real-ESRGAN, \
Real-ESRGAN's compact ones (SRVGG), SPAN, Real-CUGAN (UpCunet), waifu2x (upconv_7, vgg_7, cunet), SwinIR, HAT, DAT, \
OmniSR. ncnn and ONNX files hold their network.

Example:
  upscaled models import 4x-UltraSharp.pth --licence CC-BY-NC-SA-4.0";

/// `models import`
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// Files of weights
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// The model's name; without it the file's
    #[arg(long, value_name = "N")]
    pub name: Option<String>,
    /// Licence of the weights, to be shown
    #[arg(long, value_name = "TEXT")]
    pub licence: Option<String>,
    /// Where the weights come from, to be shown
    #[arg(long, value_name = "TEXT")]
    pub source: Option<String>,
    /// The network takes and gives blue first
    #[arg(long)]
    pub bgr: bool,
    /// An array, one object for each file that was imported.
    #[command(flatten)]
    pub json: JsonArg,
}
