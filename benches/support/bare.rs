//! A session with nothing around it: the same library, model, threads and settings as the product's, fed with one
//! window over and over. What it takes is what the model costs.

use std::path::{Path, PathBuf};
use std::time::Duration;

use upscaled::clock::{SharedClock, SystemClock};
use upscaled::config::{Precision, Provider, ProviderChoices};
use upscaled::fs::RealFilesystem;
use upscaled::inference::{
    Catalogue, InferenceError, OrtUpscaler, Planes, Profile, SessionSettings, Upscaler, measure,
};
use upscaled::size::Size;

use super::common;

/// One model, loaded. There is one at a time: its arena is the process's.
#[derive(Debug)]
pub struct Bare {
    /// The session.
    pub session: OrtUpscaler,
    /// What it may hold.
    pub device_bytes: u64,
    clock: SharedClock,
}

impl Bare {
    /// Loads a model by name or path, with the need that the product would plan with: the known one, or measured. Its
    /// card is kept in `state_dir`.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open(model: &str, state_dir: &Path, device_bytes: u64) -> Result<Self, String> {
        Self::open_on(Provider::Cpu, model, state_dir, device_bytes)
    }

    /// As [`Bare::open`], on another provider.
    ///
    /// # Errors
    /// Why it cannot be used.
    pub fn open_on(
        provider: Provider,
        model: &str,
        state_dir: &Path,
        device_bytes: u64,
    ) -> Result<Self, String> {
        let settings = SessionSettings {
            providers: vec![provider],
            device_id: 0,
            threads: None,
            precision: Precision::Auto,
            engines_dir: PathBuf::new(),
            choices: ProviderChoices::default(),
        };
        let catalogue = Catalogue::new(
            vec![state_dir.to_owned()],
            Some(common::runtime_library()),
            RealFilesystem::shared(),
        );
        let model = catalogue.find(model).map_err(|error| error.to_string())?;
        let known = model.cpu_profile.clone();
        let (mut session, _) = OrtUpscaler::open(&common::runtime(), model, settings, device_bytes)
            .map_err(|error| error.to_string())?;
        let clock = SystemClock::shared();
        let profile = match known {
            Some(profile) => profile,
            None => Profile {
                memory: measure::need(&mut session, device_bytes, clock.as_ref())
                    .map_err(|error| error.to_string())?,
                speeds: Vec::new(),
                learned: None,
            },
        };
        session.set_profile(profile);
        Ok(Self {
            session,
            device_bytes,
            clock,
        })
    }

    /// Gets ready for windows of this shape: the session is opened for it, and has run once.
    ///
    /// # Errors
    /// Those of the session.
    pub fn prepare(&mut self, window: Size, batch: u32) -> Result<Vec<f32>, InferenceError> {
        self.session.prepare(window, batch, self.device_bytes)?;
        let planes = planes(window, batch);
        self.once(&planes, window, batch)?;
        Ok(planes)
    }

    /// One run.
    ///
    /// # Errors
    /// Those of the session.
    pub fn once(&mut self, planes: &[f32], window: Size, batch: u32) -> Result<Duration, InferenceError> {
        let started = self.clock.monotonic();
        let tiles = Planes::batch(planes, window, batch as usize);
        self.session.upscale(tiles, &mut |result| {
            std::hint::black_box(result.data[0]);
        })?;
        Ok(self.clock.monotonic().since(started))
    }

    /// Seconds per input pixel of windows of this shape: of as many runs as fill `at_least`.
    ///
    /// # Errors
    /// Those of the session.
    pub fn seconds_per_pixel(
        &mut self,
        window: Size,
        batch: u32,
        at_least: Duration,
    ) -> Result<f64, InferenceError> {
        let planes = self.prepare(window, batch)?;
        let (mut total, mut runs) = (Duration::ZERO, 0u64);
        while total < at_least || runs < 2 {
            total += self.once(&planes, window, batch)?;
            runs += 1;
        }
        Ok(total.as_secs_f64() / (window.pixels() * u64::from(batch) * runs) as f64)
    }
}

/// Tiles of a made photo.
fn planes(window: Size, batch: u32) -> Vec<f32> {
    let picture = common::photo(window.width, window.height);
    let one: Vec<f32> = (0..3)
        .flat_map(|plane| {
            picture
                .pixels()
                .map(move |pixel| f32::from(pixel.0[plane]) / 255.0)
        })
        .collect();
    one.repeat(batch as usize)
}
