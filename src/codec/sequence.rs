//! Owns the words for files that hold more than one picture: pages of a document, frames of an animation. Plain data.

use super::layout::PixelLayout;
use crate::size::Size;

/// What a file holds beside its first picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sequence {
    /// Nothing.
    #[default]
    Single,
    /// Frames of the same size and layout, each complete: what a viewer shows, not what changed.
    Animation(Animation),
    /// The pages after the first, each with its own size, samples and profile.
    Pages(Vec<Page>),
}

/// How an animation runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Animation {
    /// How often it is shown; 0: for ever.
    pub loops: u32,
    /// How long each frame is shown, the first one's included: as many as there are frames.
    pub delays: Vec<Delay>,
}

/// Seconds as a fraction, because formats count in hundredths, in thousandths and in fractions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delay {
    /// Above the line.
    pub numerator: u32,
    /// Below it; never 0.
    pub denominator: u32,
}

/// A page of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Columns × rows, as stored in a source; as written in a result.
    pub size: Size,
    /// Samples.
    pub layout: PixelLayout,
    /// EXIF orientation of a source's page, 1..=8; 1 in a result.
    pub orientation: u8,
    /// ICC profile whose colour space fits `layout`.
    pub icc: Option<Vec<u8>>,
}

impl Page {
    /// Columns × rows as people see it: orientations 5 to 8 swap the sides.
    pub fn upright(&self) -> Size {
        match self.orientation {
            5..=8 => Size::new(self.size.height, self.size.width),
            _ => self.size,
        }
    }
}

impl Sequence {
    /// Pictures of the file, the first one included.
    pub fn pictures(&self) -> usize {
        match self {
            Self::Single => 1,
            Self::Animation(animation) => animation.delays.len().max(1),
            Self::Pages(pages) => pages.len() + 1,
        }
    }

    /// Whether there is only one picture.
    pub fn is_single(&self) -> bool {
        self.pictures() == 1
    }

    /// The page at `index`, where pages differ; `None` for the first and for frames, which are all like the first.
    pub fn page(&self, index: usize) -> Option<&Page> {
        match self {
            Self::Pages(pages) => pages.get(index.checked_sub(1)?),
            Self::Single | Self::Animation(_) => None,
        }
    }
}
