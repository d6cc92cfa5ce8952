//! How long the executor's thread had nothing to do but wait. It works in the session; between the last tile of a band
//! and the first of the next it hands the band to the encoder and takes rows from the decoder. Seen from the seam in
//! front of the session, so that the product carries nothing for it.

use std::path::Path;
use std::time::Duration;

use upscaled::budget::Budget;
use upscaled::clock::{Clock, Monotonic};
use upscaled::codec::DecodeLimits;
use upscaled::config::{Format, Recipe};
use upscaled::inference::{InferenceError, ModelCard, Place, Planes, Profile, Upscaler};
use upscaled::pipeline::{DeviceBudget, Render, render};
use upscaled::progress::{Cancel, Progress};
use upscaled::report::{RenderReport, Seconds};
use upscaled::size::Size;

use super::bare::Bare;

/// Where the time of one picture went.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    /// Between bands: at most this was spent waiting for encoder or decoder.
    pub between_bands: Duration,
    /// From the last tile to the finished file: the last band's encoding, which nothing can overlap.
    pub after_the_last: Duration,
    /// Bands.
    pub bands: u64,
    /// What the document tells.
    pub seconds: Seconds,
}

/// Renders a picture in this process under this device budget and watches the session.
pub fn watch(bare: &mut Bare, source: &Path, format: Format, device_bytes: u64, clock: &dyn Clock) -> Waits {
    let recipe = Recipe {
        model: bare.session.card().name.to_string(),
        format,
        ..Recipe::default()
    };
    let mut watched = Watched {
        inner: &mut bare.session,
        clock,
        last_tile: None,
        between_bands: Duration::ZERO,
        bands: 0,
    };
    let mut report = RenderReport::default();
    let order = Render {
        source,
        recipe: &recipe,
        decode_limits: &DecodeLimits::default(),
        out: tempfile::tempfile().expect("a temporary file"),
        host: &Budget::new(2 << 30),
        device_bytes,
        budget: DeviceBudget(&|_| device_bytes),
        window_pixels_ceiling: None,
        progress: &Progress::default(),
        cancel: &Cancel::default(),
        clock,
    };
    render(order, &mut watched, &mut report).expect("the picture is rendered");
    let last_tile = watched.last_tile.expect("there was a tile");
    Waits {
        between_bands: watched.between_bands,
        after_the_last: clock.monotonic().since(last_tile),
        bands: watched.bands,
        seconds: report.seconds.expect("a picture that is done took time"),
    }
}

struct Watched<'a> {
    inner: &'a mut dyn Upscaler,
    clock: &'a dyn Clock,
    last_tile: Option<Monotonic>,
    between_bands: Duration,
    bands: u64,
}

impl Upscaler for Watched<'_> {
    fn card(&self) -> &ModelCard {
        self.inner.card()
    }

    fn place(&self) -> &Place {
        self.inner.place()
    }

    fn profile(&self) -> &Profile {
        self.inner.profile()
    }

    fn set_profile(&mut self, profile: Profile) {
        self.inner.set_profile(profile);
    }

    /// Called once for each band, before its first tile.
    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError> {
        if let Some(last_tile) = self.last_tile {
            self.between_bands += self.clock.monotonic().since(last_tile);
        }
        self.bands += 1;
        self.inner.prepare(window, batch, device_bytes)
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        let result = self.inner.upscale(tiles, take);
        self.last_tile = Some(self.clock.monotonic());
        result
    }

    fn fall_back(&mut self, device_bytes: u64) -> Result<bool, InferenceError> {
        self.inner.fall_back(device_bytes)
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        self.inner.device_peak_bytes()
    }
}
