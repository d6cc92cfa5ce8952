//! Owns `upscaled models tune`: how long windows of many shapes take here. Never decides which a plan takes.

use std::sync::Arc;
use std::sync::mpsc::channel;

use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::super::exit::{Exit, Failure};
use super::super::out::{Out, bytes, complain};
use super::show;
use crate::clock::SystemClock;
use crate::config::Config;
use crate::error::plain;
use crate::inference::{Catalogue, Profile};
use crate::pipeline::executor::{Executor, TuneOrder, Tuned};
use crate::progress::Cancel;
use crate::service::executor_settings;
use crate::tiling::Speed;

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Document<'a> {
    model: &'a str,
    provider: &'a str,
    device: &'a str,
    precision: &'a str,
    device_bytes: u64,
    #[serde(flatten)]
    profile: &'a Profile,
}

/// Measures, tells each window as it is done, and keeps the result. Ctrl-C ends it early; what was measured counts.
pub fn tune(
    out: &mut Out,
    config: &Config,
    catalogue: &Arc<Catalogue>,
    name: &str,
    json: bool,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Temporary,
            format!("cannot start: {}; try again", plain(&error)),
        )
    };
    let cancel = Cancel::default();
    listen(cancel.clone()).map_err(failed)?;
    let settings = executor_settings(config, catalogue);
    let host = settings.host_budget();
    let executor = Executor::start(settings, host, SystemClock::shared()).map_err(failed)?;
    let (send, receive) = channel();
    executor.tune(TuneOrder {
        model: name.to_owned(),
        cancel,
        told: Box::new(|speed: &Speed| {
            let rate = speed.pixels_per_second() / 1e6;
            complain(format!(
                "{} × {}: {rate:.3} megapixels a second",
                speed.batch,
                speed.window()
            ));
        }),
        reply: Box::new(move |tuned| drop(send.send(tuned))),
    });
    let tuned: Tuned = receive
        .recv()
        .map_err(|_| Failure::new(Exit::Temporary, "the measuring ended without a result; try again"))??;
    tell(out, name, &tuned, json)
}

fn tell(out: &mut Out, name: &str, tuned: &Tuned, json: bool) -> Result<(), Failure> {
    let Tuned {
        place,
        profile,
        device_bytes,
    } = tuned;
    if json {
        return out.json(&Document {
            model: name,
            provider: place.provider.as_str(),
            device: &place.device,
            precision: place.precision,
            device_bytes: *device_bytes,
            profile,
        });
    }
    out.line(format_args!(
        "{name} on {} ({}, {}), within {}:",
        place.provider.as_str(),
        place.device,
        place.precision,
        bytes(*device_bytes)
    ))?;
    show::speeds(out, &profile.speeds)?;
    out.line("kept; plans take the shape that makes the whole picture fastest, halos included")
}

/// Asks the measuring to end where somebody presses Ctrl-C.
fn listen(cancel: Cancel) -> std::io::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for _ in signals.forever() {
                cancel.cancel();
            }
        })?;
    Ok(())
}
