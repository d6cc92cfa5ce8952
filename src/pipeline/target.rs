//! Owns what a result will be, known before any pixel is computed: its size, format and layout, or why there
//! can be none. Pure.

use std::path::Path;

use crate::codec::{self, Channels, Depth, ImageHeader, PixelLayout, ResultFormat};
use crate::config::{OnTooBig, Recipe, Scale};
use crate::inference::ModelCard;
use crate::ratio::Ratio;
use crate::size::Size;

/// What a result will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Columns × rows.
    pub size: Size,
    /// File format.
    pub format: ResultFormat,
    /// Samples.
    pub layout: PixelLayout,
}

/// There can be no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// More pixels than the recipe allows.
    #[error(
        "cannot upscale {source_name}: the result would have {size} = {megapixels} MP, {limit} MP are allowed; \
         raise max_pixels or use a model with a smaller scale"
    )]
    TooManyPixels {
        /// The source.
        source_name: String,
        /// Size of the result.
        size: Size,
        /// Its pixels in millions, rounded up.
        megapixels: u64,
        /// `max_pixels` in millions.
        limit: u64,
    },
    /// A side is longer than the format can say.
    #[error(
        "cannot upscale {source_name}: the result would be {size}, {format} ends at {limit} pixels a side; use format = \"{fits}\""
    )]
    SideTooLong {
        /// The source.
        source_name: String,
        /// Size of the result.
        size: Size,
        /// Name of the format.
        format: &'static str,
        /// Its longest side.
        limit: u32,
        /// A format that would hold it.
        fits: &'static str,
    },
    /// A scale that this version cannot make.
    #[error(
        "cannot upscale {source_name}: scale {wanted} is not available in this version, {model} makes {own}; use scale = \"model\""
    )]
    Scale {
        /// The source.
        source_name: String,
        /// What was asked for.
        wanted: f64,
        /// The model's name.
        model: String,
        /// The model's own scale.
        own: Ratio,
    },
}

impl Target {
    /// What the recipe makes of a source with this header.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn of(
        source: &Path,
        header: &ImageHeader,
        recipe: &Recipe,
        card: &ModelCard,
    ) -> Result<Self, TargetError> {
        let source_name = source.display().to_string();
        if let Scale::Times(wanted) = recipe.scale
            && (wanted - card.scale.as_f64()).abs() > f64::EPSILON
        {
            return Err(TargetError::Scale {
                source_name,
                wanted,
                model: card.name.to_string(),
                own: card.scale,
            });
        }
        let upright = header.upright();
        let size = Size::new(card.scale.of(upright.width), card.scale.of(upright.height));
        if size.pixels() > recipe.max_pixels {
            // Shrinking to fit needs the resampler of a later version: refused in words rather than silently
            // delivered too large.
            let (OnTooBig::Shrink | OnTooBig::Refuse) = recipe.on_too_big;
            return Err(TargetError::TooManyPixels {
                source_name,
                size,
                megapixels: size.pixels().div_ceil(1_000_000),
                limit: recipe.max_pixels / 1_000_000,
            });
        }
        let format = codec::result_format(recipe.format, header.format);
        let limit = codec::side_limit(format);
        if size.width > limit || size.height > limit {
            let fits = if size.width.max(size.height) <= codec::side_limit(ResultFormat::Jpeg) {
                "jpeg"
            } else {
                "png"
            };
            return Err(TargetError::SideTooLong {
                source_name,
                size,
                format: format.as_str(),
                limit,
                fits,
            });
        }
        Ok(Self {
            size,
            format,
            layout: layout(header.layout, format),
        })
    }
}

/// The samples that a format can hold of a source: JPEG and WebP have 8 bits, JPEG no alpha, WebP no grey.
fn layout(source: PixelLayout, format: ResultFormat) -> PixelLayout {
    let channels = match (format, source.channels) {
        (ResultFormat::Jpeg, Channels::GreyAlpha) => Channels::Grey,
        (ResultFormat::Jpeg, Channels::Rgba) | (ResultFormat::Webp, Channels::Grey) => Channels::Rgb,
        (ResultFormat::Webp, Channels::GreyAlpha) => Channels::Rgba,
        (_, channels) => channels,
    };
    let depth = match format {
        ResultFormat::Jpeg | ResultFormat::Webp => Depth::Eight,
        ResultFormat::Png | ResultFormat::Tiff => source.depth,
    };
    PixelLayout { channels, depth }
}

/// What of the source the format cannot hold, one line each.
pub fn losses(source: PixelLayout, target: &Target) -> Vec<String> {
    let format = target.format.as_str();
    let mut losses = Vec::new();
    if source.channels.has_alpha() && !target.layout.channels.has_alpha() {
        losses.push(format!(
            "{format} holds no transparency: the alpha channel was dropped"
        ));
    }
    if source.depth == Depth::Sixteen && target.layout.depth == Depth::Eight {
        losses.push(format!(
            "{format} holds 8 bits a sample: the source's 16 bits were rounded"
        ));
    }
    losses
}
