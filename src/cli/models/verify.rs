//! Owns `upscaled models verify`: whether a model makes of its patch on each configured provider what it made on the
//! processor.

use std::sync::Arc;

use serde::Serialize;

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, complain};
use crate::config::{Config, Provider};
use crate::inference::{
    Catalogue, Difference, HALF_DECIBELS_MIN, InferenceError, Model, OrtUpscaler, Reference, Runtime,
    SessionSettings, Upscaler,
};
use crate::service::executor_settings;

/// More than a level can be seen by whoever compares two results; single precision stays far below it.
const FP32_LEVELS_MAX: f64 = 1.0;

/// Enough for the patch on any model, where the configuration does not say.
const DEVICE_BYTES: u64 = 2 << 30;

/// What a provider made of the patch.
#[derive(Debug, Serialize)]
struct Verified {
    provider: Provider,
    device: String,
    precision: &'static str,
    /// Largest difference, in levels of 255.
    levels: f64,
    /// Peak signal to noise ratio.
    decibels: f64,
    ok: bool,
}

/// Runs the patch on every configured provider that is there.
pub fn verify(
    out: &mut Out,
    config: &Config,
    catalogue: &Arc<Catalogue>,
    name: &str,
    json: bool,
) -> Result<Exit, Failure> {
    let model = catalogue.find(name)?;
    let runtime = Runtime::load(config.runtime.library.as_deref())?;
    let reference = catalogue.reference(&runtime, &model)?;
    let settings = executor_settings(config, catalogue);
    let device_bytes = settings.device_bytes.unwrap_or(DEVICE_BYTES);
    let mut verified = Vec::new();
    let mut skipped = Vec::new();
    for provider in settings.session.providers.clone() {
        let settings = SessionSettings {
            providers: vec![provider],
            ..settings.session.clone()
        };
        match OrtUpscaler::open(&runtime, model.clone(), settings, device_bytes) {
            Ok((upscaler, _)) => verified.push(compare(upscaler, &reference, device_bytes)?),
            Err(InferenceError::NoProvider(missing)) => skipped.extend(missing),
            Err(error) => return Err(error.into()),
        }
    }
    if verified.is_empty() {
        return Err(InferenceError::NoProvider(skipped).into());
    }
    // The default list tries everything; what somebody listed is missed.
    for missing in skipped.iter().filter(|_| config.runtime.providers_chosen) {
        complain(missing);
    }
    if json {
        out.json(&verified)?;
    } else {
        tell(out, &model, &verified)?;
    }
    let all_ok = verified.iter().all(|verified| verified.ok);
    Ok(if all_ok { Exit::Done } else { Exit::Failed })
}

fn compare(
    mut upscaler: OrtUpscaler,
    reference: &Reference,
    device_bytes: u64,
) -> Result<Verified, InferenceError> {
    let Difference { levels, decibels } = reference.compare(&mut upscaler, device_bytes)?;
    let place = upscaler.place();
    Ok(Verified {
        provider: place.provider,
        device: place.device.clone(),
        precision: place.precision,
        levels,
        decibels,
        ok: match place.precision {
            "fp16" => decibels >= HALF_DECIBELS_MIN,
            _ => levels <= FP32_LEVELS_MAX,
        },
    })
}

fn tell(out: &mut Out, model: &Model, verified: &[Verified]) -> Result<(), Failure> {
    let row = |verified: &Verified| {
        vec![
            verified.provider.as_str().to_owned(),
            verified.device.clone(),
            verified.precision.to_owned(),
            format!("{:.3}", verified.levels),
            format!("{:.1}", verified.decibels),
            if verified.ok { "ok" } else { "differs" }.to_owned(),
        ]
    };
    let rows: Vec<_> = verified.iter().map(row).collect();
    let head = ["PROVIDER", "DEVICE", "PRECISION", "LEVELS", "DB", "RESULT"];
    out.table(&head, &rows)?;
    for wrong in verified.iter().filter(|verified| !verified.ok) {
        complain(format!(
            "{} on {} does not make what the processor makes; leave {} out of [runtime] providers, or choose \
             precision \"fp32\"",
            model.card.name,
            wrong.device,
            wrong.provider.as_str()
        ));
    }
    Ok(())
}
