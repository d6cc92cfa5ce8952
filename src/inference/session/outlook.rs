//! Owns what a session is opened with, and what is known of it before it is open: where it will run, what it will need,
//! which engine. Never opens one.

use std::path::PathBuf;

use super::super::Place;
use super::super::card::Model;
use super::super::half::DECIBELS_MIN;
use super::super::library::Runtime;
use super::super::preload;
use super::super::profile::Profile;
use super::super::providers::{self, HalfOf, describe};
use super::super::tensorrt::{self, WantedEngine};
use crate::config::{Precision, Provider, ProviderChoices};
use crate::tiling::MemoryNeed;

/// What sessions are opened with.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionSettings {
    /// Tried in this order.
    pub providers: Vec<Provider>,
    /// The device's number.
    pub device_id: u32,
    /// Intra-op threads of the CPU provider; `None`: one per core.
    pub threads: Option<usize>,
    /// Arithmetic of the network.
    pub precision: Precision,
    /// Where TensorRT keeps engines and timings.
    pub engines_dir: PathBuf,
    /// What single providers are told.
    pub choices: ProviderChoices,
}

/// What is assumed of a model that nobody measured: more than most need.
const UNMEASURED: Profile = Profile {
    memory: MemoryNeed::proportional(256 << 20, 8192.0),
    speeds: Vec::new(),
    learned: None,
};

pub(super) fn place(provider: Provider, settings: &SessionSettings, model: &Model) -> Place {
    let half = HalfOf {
        has_variant: model.half.is_some(),
        passes: model
            .card
            .half_decibels
            .is_some_and(|decibels| decibels >= DECIBELS_MIN),
    };
    Place {
        provider,
        device: providers::device_name(provider, settings.device_id, &settings.choices),
        precision: providers::precision_name(provider, settings.precision, half),
    }
}

/// Largest side of the windows that an engine of a model is built for under a budget, of which each of the provider's
/// sessions has a part: by what is assumed of the model and not by what was measured, so that it is the same each time.
pub(super) fn engine_side_px(model: &Model, provider: Provider, device_bytes: u64) -> u32 {
    let share_bytes = device_bytes / describe(provider).lanes as u64;
    tensorrt::side_px(&model.card, &assumed(model).memory, share_bytes)
}

/// An engine as a session there asks for it.
pub(super) fn engine<'a>(
    settings: &SessionSettings,
    runtime: &'a str,
    model: &'a Model,
    place: &Place,
    side_px: u32,
) -> WantedEngine<'a> {
    WantedEngine {
        device_id: settings.device_id,
        runtime,
        model,
        precision: place.precision,
        side_px,
    }
}

/// The engine that a session on TensorRT will want under this budget, as far as anybody has to build it; `None` where
/// there is no TensorRT.
pub fn missing_engine(
    runtime: &Runtime,
    model: &Model,
    settings: &SessionSettings,
    device_bytes: u64,
) -> Option<PathBuf> {
    let provider = Provider::Tensorrt;
    preload::beside(&runtime.path, provider);
    let (version, place) = (runtime.version(), place(provider, settings, model));
    let side_px = engine_side_px(model, provider, device_bytes);
    let wanted = engine(settings, &version, model, &place, side_px);
    tensorrt::missing(&settings.engines_dir, &wanted)
}

/// The profile to begin with at a place where nothing was measured.
pub(super) fn assumed(model: &Model) -> Profile {
    model.cpu_profile.clone().unwrap_or(UNMEASURED)
}
