//! Owns the words for files that hold more than one picture: pages of a document, frames of an animation. Plain data.

use super::density::Density;
use super::layout::PixelLayout;
use crate::config::MetadataPolicy;
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

impl Delay {
    /// In seconds.
    fn seconds(self) -> f64 {
        f64::from(self.numerator) / f64::from(self.denominator.max(1))
    }
}

/// Delays in whole ticks of a format's clock. What rounding takes from one it gives to the next, so that a long
/// animation stays as long as it was.
#[derive(Debug)]
pub(super) struct Ticks {
    per_second: f64,
    most: u32,
    /// When the next frame appears: exactly, and as it was written.
    exact: f64,
    written: f64,
}

impl Ticks {
    /// A clock that counts so many a second, up to `most` for a frame.
    pub(super) fn new(per_second: u32, most: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            most,
            exact: 0.0,
            written: 0.0,
        }
    }

    /// The ticks of the next frame.
    pub(super) fn of(&mut self, delay: Delay) -> u32 {
        self.exact += delay.seconds() * self.per_second;
        let ticks = self.exact.round() - self.written;
        self.written = self.exact.round();
        (ticks as u32).min(self.most)
    }
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
    /// Pixels in a unit of length.
    pub density: Option<Density>,
}

impl Page {
    /// Columns × rows as people see it: orientations 5 to 8 swap the sides.
    pub fn upright(&self) -> Size {
        match self.orientation {
            5..=8 => Size::new(self.size.height, self.size.width),
            _ => self.size,
        }
    }

    /// Pixels in a unit of length of the upright picture, unless nothing is to be told of it.
    pub fn carried_density(&self, policy: MetadataPolicy) -> Option<Density> {
        let density = self.density.filter(|_| policy != MetadataPolicy::Strip)?;
        Some(density.turned(matches!(self.orientation, 5..=8)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rounding_takes_from_one_delay_it_gives_to_the_next() {
        let third = Delay {
            numerator: 1,
            denominator: 30,
        };
        let mut hundredths = Ticks::new(100, 65_535);
        let ticks: Vec<u32> = (0..6).map(|_| hundredths.of(third)).collect();
        assert_eq!(ticks, [3, 4, 3, 3, 4, 3]);
        assert_eq!(ticks.iter().sum::<u32>(), 20);
    }

    #[test]
    fn a_delay_longer_than_a_format_counts_does_not_reach_into_the_next() {
        let delay = |numerator| Delay {
            numerator,
            denominator: 1,
        };
        let mut hundredths = Ticks::new(100, 65_535);
        assert_eq!(hundredths.of(delay(10_000)), 65_535);
        assert_eq!(hundredths.of(delay(1)), 100);
    }
}
