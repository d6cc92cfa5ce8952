//! Owns what a result will be, known before any pixel is computed: its format, and of each picture the size, the
//! samples and how often the model is applied, or why there can be no result. Pure.

use std::path::Path;

use super::alpha::Transparency;
use crate::codec::{self, Channels, Depth, ImageHeader, Page, PixelLayout, ResultFormat, Sequence};
use crate::config::{OnTooBig, Recipe, Scale};
use crate::inference::ModelCard;
use crate::ratio::Ratio;
use crate::size::Size;

/// Applications of a model to one picture. Two reach 16 with the models that are usual; a model of 1.33 needs ten, and
/// by then its own faults are all that is left.
const MOST_PASSES: u32 = 8;

/// What a result will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// File format.
    pub format: ResultFormat,
    /// What becomes of each picture: of every page, or once for all frames of an animation.
    pub courses: Vec<Course>,
    /// Pictures in the file.
    pub pictures: usize,
    /// What a person should know, one line each.
    pub warnings: Vec<String>,
}

/// What becomes of one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Columns × rows of the source, upright.
    pub source: Size,
    /// Samples of the source, as the decoder gives them.
    pub source_layout: PixelLayout,
    /// What is done with its transparency before the model.
    pub transparency: Transparency,
    /// How often the model is applied; at least once.
    pub passes: u32,
    /// Columns × rows after the last pass.
    pub made: Size,
    /// Columns × rows of the result.
    pub size: Size,
    /// Samples of the result.
    pub layout: PixelLayout,
}

/// There can be no result.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum TargetError {
    /// More pixels than the recipe allows.
    #[error(
        "cannot upscale {source_name}: the result would have {size} = {megapixels} MP, {limit} MP are allowed; \
         raise max_pixels, use on_too_big = \"shrink\" or a smaller scale"
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
    /// Several pictures, and a format for one.
    #[error(
        "cannot upscale {source_name}: it holds {pictures} pages, {format} holds one; use format = \"tiff\", or save the \
         page you want as a file of its own"
    )]
    Pages {
        /// The source.
        source_name: String,
        /// How many.
        pictures: usize,
        /// Name of the format.
        format: &'static str,
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
        let format = codec::target_format(recipe, header);
        let pictures = header.sequence.pictures();
        let differing = match &header.sequence {
            Sequence::Single | Sequence::Animation(_) => 1,
            Sequence::Pages(_) => pictures,
        };
        if !codec::holds(format, &header.sequence) {
            return Err(TargetError::Pages {
                source_name,
                pictures,
                format: format.as_str(),
            });
        }
        let mut warnings = Vec::new();
        let mut courses = Vec::with_capacity(differing);
        for index in 0..differing {
            let shaper = Shaper {
                source_name: &source_name,
                page: header.page(index),
                format,
                recipe,
                card,
            };
            courses.push(shaper.course(&mut warnings)?);
        }
        warnings.dedup();
        Ok(Self {
            format,
            courses,
            pictures,
            warnings,
        })
    }

    /// Pictures of each course: all frames of an animation, or each page by itself.
    pub fn frames(&self) -> usize {
        self.pictures - (self.courses.len() - 1)
    }

    /// What becomes of the picture at `index`.
    pub fn course(&self, index: usize) -> &Course {
        &self.courses[index.min(self.courses.len() - 1)]
    }
}

impl Course {
    /// Samples as the model's first application sees them.
    pub fn shown_layout(&self) -> PixelLayout {
        self.transparency.layout(self.source_layout)
    }

    /// Whether what the model makes is resampled to the result's size.
    pub fn is_resampled(&self) -> bool {
        self.made != self.size
    }

    /// Samples of what pass `index` makes. Between the model and whatever comes next lie 16 bits: nothing is rounded to
    /// 8 on the way.
    pub fn made_layout(&self, index: u32) -> PixelLayout {
        if index + 1 == self.passes && !self.is_resampled() {
            self.layout
        } else {
            PixelLayout {
                channels: self.layout.channels,
                depth: Depth::Sixteen,
            }
        }
    }

    /// Columns × rows and samples that pass `index` is given.
    pub fn given(&self, index: u32, scale: Ratio) -> (Size, PixelLayout) {
        let size = (0..index).fold(self.source, |size, _| scaled(size, scale));
        let layout = match index.checked_sub(1) {
            None => self.shown_layout(),
            Some(before) => self.made_layout(before),
        };
        (size, layout)
    }

    /// Pixels that the passes are given, all together: how much there is to do.
    pub fn given_pixels(&self, scale: Ratio) -> u64 {
        (0..self.passes)
            .map(|pass| self.given(pass, scale).0.pixels())
            .sum()
    }
}

/// Decides about one picture.
struct Shaper<'a> {
    source_name: &'a str,
    page: Page,
    format: ResultFormat,
    recipe: &'a Recipe,
    card: &'a ModelCard,
}

impl Shaper<'_> {
    fn course(&self, warnings: &mut Vec<String>) -> Result<Course, TargetError> {
        let source = self.page.upright();
        let size = self.size(source, warnings)?;
        let layout = layout(self.page.layout, self.format);
        let (passes, made) = self.passes(source, size, warnings);
        if self.page.layout.depth == Depth::Sixteen {
            let format = self.format.as_str();
            let bits = match (layout.depth, self.format) {
                (Depth::Eight, _) => Some(8),
                (Depth::Sixteen, ResultFormat::Avif) => Some(10),
                (Depth::Sixteen, _) => None,
            };
            warnings.extend(bits.map(|bits| {
                format!("{format} holds {bits} bits a sample: the source's 16 bits were rounded")
            }));
        }
        Ok(Course {
            source,
            source_layout: self.page.layout,
            transparency: Transparency::of(self.page.layout, layout, self.recipe.background),
            passes,
            made,
            size,
            layout,
        })
    }

    /// The size of the result: as asked for, or what the limits leave of it.
    fn size(&self, source: Size, warnings: &mut Vec<String>) -> Result<Size, TargetError> {
        let own = self.card.scale;
        let wanted = match self.recipe.scale {
            Scale::Times(times) if (times - own.as_f64()).abs() > f64::EPSILON => {
                Size::new(times_side(source.width, times), times_side(source.height, times))
            }
            Scale::Times(_) | Scale::Model => scaled(source, own),
        };
        let (most, limit) = (self.recipe.max_pixels, codec::side_limit(self.format));
        let longest = wanted.width.max(wanted.height);
        if wanted.pixels() <= most && longest <= limit {
            return Ok(wanted);
        }
        if self.recipe.on_too_big == OnTooBig::Refuse {
            return Err(self.too_big(wanted, limit));
        }
        let by_area = (most as f64 / wanted.pixels() as f64).sqrt();
        let by_side = f64::from(limit) / f64::from(longest);
        let factor = by_area.min(by_side);
        // Rounded down, so that the limit is kept.
        let shrunk = |side: u32| ((f64::from(side) * factor) as u32).max(1);
        let size = Size::new(shrunk(wanted.width), shrunk(wanted.height));
        let why = if by_side < by_area {
            format!("{} ends at {limit} pixels a side", self.format.as_str())
        } else {
            format!("max_pixels allows {} MP", most / 1_000_000)
        };
        warnings.push(format!("the result has {size} pixels instead of {wanted}: {why}"));
        Ok(size)
    }

    fn too_big(&self, size: Size, limit: u32) -> TargetError {
        let source_name = self.source_name.to_owned();
        if size.pixels() > self.recipe.max_pixels {
            return TargetError::TooManyPixels {
                source_name,
                size,
                megapixels: size.pixels().div_ceil(1_000_000),
                limit: self.recipe.max_pixels / 1_000_000,
            };
        }
        let longest = size.width.max(size.height);
        TargetError::SideTooLong {
            source_name,
            size,
            format: self.format.as_str(),
            limit,
            fits: if longest <= codec::side_limit(ResultFormat::Jpeg) {
                "jpeg"
            } else {
                "png"
            },
        }
    }

    /// As many applications of the model as it takes to reach the size, and what they make.
    fn passes(&self, source: Size, size: Size, warnings: &mut Vec<String>) -> (u32, Size) {
        let own = self.card.scale;
        let (mut passes, mut made) = (1, scaled(source, own));
        let reaches = |made: Size| made.width >= size.width && made.height >= size.height;
        while !reaches(made) && passes < MOST_PASSES && own.as_f64() > 1.0 {
            made = scaled(made, own);
            passes += 1;
        }
        if !reaches(made) {
            warnings.push(format!(
                "{} makes {made} pixels of it at most; the rest to {size} was interpolated",
                self.card.name
            ));
        }
        (passes, made)
    }
}

fn scaled(size: Size, scale: Ratio) -> Size {
    Size::new(scale.of(size.width), scale.of(size.height))
}

/// Saturates, as casts do.
fn times_side(side: u32, times: f64) -> u32 {
    ((f64::from(side) * times).round() as u32).max(1)
}

/// The samples that a format can hold of a source: JPEG, WebP and GIF have 8 bits, JPEG no alpha, WebP and GIF no
/// grey.
fn layout(source: PixelLayout, format: ResultFormat) -> PixelLayout {
    let channels = match (format, source.channels) {
        (ResultFormat::Jpeg, Channels::GreyAlpha) => Channels::Grey,
        (ResultFormat::Jpeg, Channels::Rgba) => Channels::Rgb,
        (ResultFormat::Webp | ResultFormat::Gif, Channels::Grey) => Channels::Rgb,
        (ResultFormat::Webp | ResultFormat::Gif, Channels::GreyAlpha) => Channels::Rgba,
        (_, channels) => channels,
    };
    let depth = match format {
        ResultFormat::Jpeg | ResultFormat::Webp | ResultFormat::Gif => Depth::Eight,
        // Its encoder fails at 16 bits with alpha.
        ResultFormat::Jxl if channels.has_alpha() => Depth::Eight,
        // AVIF makes 10 bits of 16.
        ResultFormat::Png | ResultFormat::Tiff | ResultFormat::Avif | ResultFormat::Jxl => source.depth,
    };
    PixelLayout { channels, depth }
}
