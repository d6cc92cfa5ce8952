//! Owns the checks of what computes: the runtime, every provider, and a model on the first that works. Loads for
//! real, because nothing else tells whether a library or a driver is missing.

use std::sync::Arc;

use super::super::daemon_catalogue;
use super::super::out::complain;
use super::{Check, gpu};
use crate::config::{Config, Provider, RuntimeConfig};
use crate::inference::library::remedy;
use crate::inference::providers::{DESCRIPTIONS, Description, describe};
use crate::inference::{
    Catalogue, InferenceError, Model, OrtUpscaler, PLANES, Planes, Runtime, SessionSettings, SkippedProvider,
    Upscaler,
};
use crate::service::executor_settings;
use crate::size::Size;

/// Enough for a model and its smallest tile, little enough for any device.
const TRIAL_BYTES: u64 = 256 << 20;

/// Side of the tile that is tried.
const TRIAL_PX: u32 = 64;

/// The providers, fastest first: those that everybody is told of, and those that the configuration names.
fn providers(config: &Config) -> Vec<Provider> {
    let default = RuntimeConfig::default().providers;
    let told =
        |known: &&Description| default.contains(&known.provider) || config.runtime.wants(known.provider);
    DESCRIPTIONS
        .iter()
        .filter(told)
        .map(|known| known.provider)
        .collect()
}

/// What the checks came to.
pub struct Found {
    /// One line each.
    pub checks: Vec<Check>,
    /// Nothing can be upscaled for want of ONNX Runtime.
    pub is_runtime_missing: bool,
}

/// Checks the runtime, the providers and a model.
pub fn check(config: &Config) -> Found {
    let runtime = match Runtime::load(config.runtime.library.as_deref()) {
        Ok(runtime) => runtime,
        Err(error) => {
            let checks = vec![Check::from_error("runtime", &error.to_string(), &remedy())];
            return Found {
                checks,
                is_runtime_missing: true,
            };
        }
    };
    let mut checks = vec![Check::ok(
        "runtime",
        format!("ONNX Runtime {}, {}", runtime.version(), runtime.path.display()),
    )];
    let facts = gpu::gather::facts(
        &runtime.path,
        config.runtime.device_ids.first().copied().unwrap_or(0),
    );
    checks.extend(gpu::card(&facts));
    let mut usable: Vec<(Provider, OrtUpscaler)> = Vec::new();
    let catalogue = Arc::new(daemon_catalogue(config).with_notice(|text| complain(text)));
    let model = model(config, &catalogue);
    let mut missing: Vec<SkippedProvider> = Vec::new();
    let providers = providers(config);
    for provider in providers.iter().copied() {
        match &model {
            Ok(model) => match open(
                &runtime,
                &executor_settings(config, &catalogue).session,
                model,
                provider,
            ) {
                Ok(upscaler) => usable.push((provider, upscaler)),
                Err(skipped) => missing.push(understood(skipped, &facts)),
            },
            Err(_) => break,
        }
    }
    match model {
        Ok(_) => {
            let check = |provider| provider_check(provider, config, &usable, &missing);
            checks.extend(providers.into_iter().map(check));
            checks.push(first_tile(config, usable));
        }
        Err(error) => checks.push(error),
    }
    Found {
        checks,
        is_runtime_missing: false,
    }
}

/// The first folder's model: the one that will be needed. Those of the others are looked at, too.
fn model(config: &Config, catalogue: &Catalogue) -> Result<Model, Check> {
    let recipe = config
        .folders
        .first()
        .map(|folder| folder.recipe.clone())
        .unwrap_or_default();
    for folder in &config.folders {
        if let Err(error) = catalogue.card(&folder.recipe.model) {
            let detail = format!("folder {}: {error}", folder.name);
            return Err(Check::from_error("model", &detail, "correct the folder's model"));
        }
    }
    catalogue
        .find(&recipe.model)
        .map_err(|error| Check::from_error("model", &error.to_string(), "name another model"))
}

fn open(
    runtime: &Runtime,
    settings: &SessionSettings,
    model: &Model,
    provider: Provider,
) -> Result<OrtUpscaler, SkippedProvider> {
    let settings = SessionSettings {
        providers: vec![provider],
        ..settings.clone()
    };
    match OrtUpscaler::open(runtime, model.clone(), settings, TRIAL_BYTES) {
        Ok((upscaler, _)) => Ok(upscaler),
        Err(InferenceError::NoProvider(mut skipped)) if !skipped.is_empty() => Err(skipped.remove(0)),
        Err(error) => Err(SkippedProvider {
            provider,
            reason: error.to_string(),
        }),
    }
}

/// The reason in words that name the remedy, where one can be seen; else the library's own.
fn understood(skipped: SkippedProvider, facts: &gpu::Facts) -> SkippedProvider {
    match gpu::problem(skipped.provider.as_str(), facts) {
        Some(found) => SkippedProvider {
            reason: format!("{}; {}", found.detail, found.remedy),
            ..skipped
        },
        None => skipped,
    }
}

/// A missing provider is a failure only where the configuration leaves no other.
fn provider_check(
    provider: Provider,
    config: &Config,
    usable: &[(Provider, OrtUpscaler)],
    missing: &[SkippedProvider],
) -> Check {
    let name = format!("provider:{}", provider.as_str());
    let wanted = &config.runtime.providers;
    if let Some((_, upscaler)) = usable.iter().find(|(other, _)| *other == provider) {
        let place = upscaler.place();
        let unused = if wanted.contains(&provider) {
            ""
        } else {
            "; not in [runtime] providers"
        };
        let works = format!("works on {}, {}{unused}", place.device, place.precision);
        return match upscaler.left() {
            None => Check::ok(name, works),
            Some(left) => Check::warn(
                name,
                format!("{works}; {left}"),
                "use another provider for this model",
            ),
        };
    }
    let reason = missing
        .iter()
        .find(|skipped| skipped.provider == provider)
        .map_or("cannot be used", |s| &s.reason);
    let is_needed = !usable.iter().any(|(other, _)| wanted.contains(other));
    let needs = format!("it needs {}", describe(provider).needs);
    let (detail, remedy) = reason.rsplit_once("; ").unwrap_or((reason, &needs));
    match is_needed && wanted.contains(&provider) {
        true => Check::fail(
            name,
            detail,
            format!("{remedy}, or add another to [runtime] providers"),
        ),
        false => Check::warn(name, detail, remedy),
    }
}

/// Runs one tile on the provider that a picture would get.
fn first_tile(config: &Config, usable: Vec<(Provider, OrtUpscaler)>) -> Check {
    let wanted = &config.runtime.providers;
    let rank = |provider: &Provider| wanted.iter().position(|other| other == provider);
    let first = usable
        .into_iter()
        .filter(|(provider, _)| rank(provider).is_some())
        .min_by_key(|(p, _)| rank(p));
    let Some((_, mut upscaler)) = first else {
        let detail = "no provider of the configuration can be used";
        return Check::fail("model", detail, "correct [runtime] providers, see above");
    };
    let size = Size::new(TRIAL_PX, TRIAL_PX);
    let picture = vec![0.5f32; PLANES * (TRIAL_PX * TRIAL_PX) as usize];
    let mut is_finite = false;
    let run = upscaler.prepare(size, 1, TRIAL_BYTES).and_then(|()| {
        upscaler.upscale(Planes::new(&picture, size), &mut |result| {
            is_finite = result.data.iter().all(|value| value.is_finite());
        })
    });
    let (name, place) = (upscaler.card().name.to_string(), upscaler.place().clone());
    match run {
        Ok(()) if is_finite => Check::ok("model", format!("{name} upscales a tile on {}", place.device)),
        Ok(()) => Check::fail(
            "model",
            format!("{name} gives numbers that are none on {}", place.device),
            "set [runtime] precision = \"fp32\", or use another provider",
        ),
        Err(error) => Check::from_error(
            "model",
            &format!("{name} on {}: {error}", place.device),
            "use another provider, or update its driver",
        ),
    }
}
