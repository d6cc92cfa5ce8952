//! Owns what the making of a result is told as: plans, steps of the ladder and pixels of all passes and pictures put
//! together. Never decides anything.

use crate::config::Provider;
use crate::inference::{InferenceError, Upscaler};
use crate::report::{PlanFacts, RenderReport, RunSizes};
use crate::tiling::{Joint, TilePlan};

/// What the making of rows came to.
#[derive(Debug)]
pub(super) struct RowsMade {
    pub plan: PlanFacts,
    pub oom_retries: u32,
    pub tile_history: Vec<u32>,
    pub inference_s: f64,
    pub warnings: Vec<String>,
    pub runs: RunSizes,
    /// What the session computed, steps of the ladder included.
    pub computed_pixels: u64,
    /// What it was to compute at least.
    pub due_pixels: u64,
}

impl RowsMade {
    /// Adds what came after: another pass over the same picture, or another picture. What is told of the plan is the
    /// last one's, which made what is seen.
    pub(super) fn add(&mut self, next: Self) {
        let tiles = self.plan.tiles + next.plan.tiles;
        let bytes = self
            .plan
            .estimated_device_bytes
            .max(next.plan.estimated_device_bytes);
        self.plan = next.plan;
        self.plan.tiles = tiles;
        self.plan.estimated_device_bytes = bytes;
        self.oom_retries += next.oom_retries;
        self.tile_history.extend(next.tile_history);
        self.tile_history.dedup();
        self.inference_s += next.inference_s;
        self.warnings.extend(next.warnings);
        self.warnings.dedup();
        self.computed_pixels += next.computed_pixels;
        self.due_pixels += next.due_pixels;
        self.runs = RunSizes {
            failed_pixels: [self.runs.failed_pixels, next.runs.failed_pixels]
                .into_iter()
                .flatten()
                .min(),
            // A step down forgets what worked before it.
            worked_pixels: match next.runs.failed_pixels {
                Some(_) => next.runs.worked_pixels,
                None => self.runs.worked_pixels.max(next.runs.worked_pixels),
            },
        };
    }

    /// Puts it into the report.
    pub(super) fn tell(self, report: &mut RenderReport) {
        let mut plan = self.plan;
        plan.computed =
            (self.computed_pixels > 0).then(|| self.computed_pixels as f64 / self.due_pixels as f64);
        report.plan = Some(plan);
        report.oom_retries = self.oom_retries;
        report.tile_history = self.tile_history;
        report.warnings.extend(self.warnings);
        report.runs = self.runs;
    }
}

/// A plan as documents tell it.
pub(super) fn plan_facts(plan: &TilePlan, upscaler: &dyn Upscaler) -> PlanFacts {
    let place = upscaler.place();
    let tiling = match plan.joint {
        _ if plan.tiles() == 1 => "none",
        Joint::Whole => "none",
        Joint::Exact { .. } => "exact",
        Joint::Feather { .. } => "feather",
        Joint::Comfy { .. } => "comfy",
    };
    PlanFacts {
        tiling: tiling.to_owned(),
        tile: [plan.window().width, plan.window().height],
        overlap: plan.overlap_px(),
        tiles: plan.tiles(),
        batch: plan.batch,
        computed: None,
        seam_error: None,
        why: String::new(),
        provider: place.provider.as_str().to_owned(),
        device: place.device.clone(),
        precision: place.precision.to_owned(),
        estimated_device_bytes: plan.run_bytes,
    }
}

/// A provider that could not finish a picture, and the one that does the rest.
pub(super) fn given_up(before: Provider, error: &InferenceError, after: Provider) -> String {
    format!(
        "{} could not finish the picture ({error}); {} does the rest",
        before.as_str(),
        after.as_str()
    )
}

/// A picture that could not be seen at once by a model that wants to.
pub(super) fn pooled_warning(upscaler: &dyn Upscaler) -> String {
    format!(
        "{} sees the whole picture at once, which does not fit the device: the picture was cut and blended, and tones \
         may differ from tile to tile; raise [memory] device",
        upscaler.card().name
    )
}
