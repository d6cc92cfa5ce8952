//! What the whole service stands on in tests that kill it or let days go by: an executor whose network is a nearest
//! neighbour, so that a picture takes a millisecond, and whose mischief is the test's to choose.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::path::Path;
use std::sync::Arc;

use upscaled::budget::Budget;
use upscaled::clock::SharedClock;
use upscaled::codec::DecodeLimits;
use upscaled::config::{Config, Provider};
use upscaled::inference::{Catalogue, InferenceError, Model, ModelCard, Place, Planes, Profile, Upscaler};
use upscaled::pipeline::executor::{Executor, Order, SharedFacts, Tuned, Work};
use upscaled::pipeline::{DeviceBudget, PipelineError, Render, render};
use upscaled::progress::Cancel;
use upscaled::report::RenderReport;
use upscaled::service::MakeExecutor;
use upscaled::size::Size;
use upscaled::tiling::{MemoryNeed, Speed};

/// What the executors of a test do before they let a picture through, on the executor's thread.
pub type Mischief = Arc<dyn Fn(&Order) -> Result<(), PipelineError> + Send + Sync>;

/// Makes executors that need no ONNX Runtime.
pub fn nearest_executors(mischief: Mischief) -> MakeExecutor {
    Arc::new(move |settings, host, clock| {
        let mischief = Arc::clone(&mischief);
        let name = format!("executor-{}", settings.session.device_id);
        Executor::start_with(name, None, move |facts: SharedFacts| {
            facts.update(|facts| facts.host_bytes = host.total_bytes());
            NearestWork {
                nearest: Nearest::new(),
                host,
                clock,
                mischief,
            }
        })
    })
}

/// Finds the built-in models of a configuration.
pub fn catalogue(config: &Config, fs: upscaled::fs::SharedFilesystem) -> Arc<Catalogue> {
    let library = config.runtime.library.clone();
    Arc::new(Catalogue::new(vec![config.state_dir.clone()], library, fs))
}

struct NearestWork {
    nearest: Nearest,
    host: Arc<Budget>,
    clock: SharedClock,
    mischief: Mischief,
}

impl Work for NearestWork {
    fn render(&mut self, order: Order, report: &mut RenderReport) -> Result<(), PipelineError> {
        (self.mischief)(&order)?;
        let job = Render {
            source: &order.source,
            recipe: &order.recipe,
            decode_limits: &DecodeLimits::default(),
            out: order.out,
            host: &self.host,
            device_bytes: 1 << 30,
            budget: DeviceBudget(&|_| 1 << 30),
            window_pixels_ceiling: None,
            progress: &order.progress,
            cancel: &order.cancel,
            clock: self.clock.as_ref(),
        };
        render(job, &mut self.nearest, report)
    }

    fn warm_up(&mut self, _: &str) -> Result<(), InferenceError> {
        Ok(())
    }

    fn tune(&mut self, _: &str, _: &Cancel, _: &mut dyn FnMut(&Speed)) -> Result<Tuned, InferenceError> {
        Err(InferenceError::Model("nothing to tune".to_owned()))
    }

    fn rest(&mut self) {}
}

/// The error that an executor's network gives for this picture.
pub fn inference_error(source: &Path, error: InferenceError) -> PipelineError {
    PipelineError::Inference {
        source_name: source.display().to_string(),
        error,
    }
}

/// Repeats each pixel, under the name of the built-in model: the ledger cannot tell the difference.
struct Nearest {
    card: ModelCard,
    place: Place,
    profile: Profile,
}

impl Nearest {
    fn new() -> Self {
        Self {
            card: Model::built_in("span-x2").unwrap().card,
            place: Place {
                provider: Provider::Cpu,
                device: "cpu".to_owned(),
                precision: "fp32",
            },
            profile: Profile {
                memory: MemoryNeed::proportional(1000, 100.0),
                speeds: Vec::new(),
                learned: None,
            },
        }
    }
}

impl Upscaler for Nearest {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    fn prepare(&mut self, _: Size, _: u32, _: u64) -> Result<(), InferenceError> {
        Ok(())
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        let (width, height) = (tiles.size.width as usize, tiles.size.height as usize);
        let mut data = Vec::with_capacity(tiles.data.len() * 4);
        for plane in tiles.data.chunks_exact(width * height) {
            for row in plane.chunks_exact(width) {
                for _ in 0..2 {
                    data.extend(row.iter().flat_map(|value| [*value; 2]));
                }
            }
        }
        let size = Size::new(tiles.size.width * 2, tiles.size.height * 2);
        take(Planes::batch(&data, size, tiles.count));
        Ok(())
    }

    fn fall_back(&mut self, _: u64) -> Result<bool, InferenceError> {
        Ok(false)
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        None
    }
}
