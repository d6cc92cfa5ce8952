//! Owns the step from a source's sidecars to the result's: read, made true, published. Never fails a job: a sidecar
//! that cannot be carried is a warning.

use std::path::Path;

use crate::codec::{self, Provenance, Turn};
use crate::config::MetadataPolicy;
use crate::error::{one_line, plain};
use crate::publish::{Publisher, Sidecar, read_sidecar, sidecars};
use crate::report::RenderReport;
use crate::size::Size;

/// A published result whose source may have sidecars.
#[derive(Debug, Clone, Copy)]
pub struct Companion<'a> {
    /// The source.
    pub source: &'a Path,
    /// The folder that the result lies in or below.
    pub root: &'a Path,
    /// The result's final path.
    pub result: &'a Path,
    /// What of the metadata is wanted.
    pub policy: MetadataPolicy,
    /// What is known of the result.
    pub report: &'a RenderReport,
}

/// Copies the sidecars that lie beside the source to beside the result, with the result's sizes; tells what could not be
/// carried. Doing it twice changes nothing. `token` tells its temporary files from others'.
pub fn carry_sidecars(publisher: &Publisher, companion: Companion<'_>, token: &str) -> Vec<String> {
    let Companion {
        source,
        result,
        policy,
        ..
    } = companion;
    if policy == MetadataPolicy::Strip {
        return Vec::new();
    }
    let carried = sidecars(source, result)
        .into_iter()
        .enumerate()
        .map(|(index, sidecar)| {
            let token = format!("{token}-x{index}");
            carry(publisher, companion, &sidecar, &token).map_err(|why| {
                let name = sidecar.source.file_name().unwrap_or_default();
                one_line(&format!("the sidecar {} was not carried: {why}", name.display()))
            })
        });
    carried.filter_map(Result::err).collect()
}

fn carry(publisher: &Publisher, of: Companion<'_>, sidecar: &Sidecar, token: &str) -> Result<(), String> {
    let (Some(input), Some(output)) = (&of.report.input, &of.report.output) else {
        return Err("nothing is known of the result".to_owned());
    };
    let size = Size::new(output.width, output.height);
    let turn = Turn::new(input.orientation, Size::new(input.width, input.height), size);
    let provenance = Provenance::of(of.report, size)
        .ok_or_else(|| "nothing is known of what made the result".to_owned())?;
    let packet = read_sidecar(&sidecar.source).map_err(|error| plain(&error).to_string())?;
    let content = codec::carry_sidecar(&packet, turn, of.policy, &provenance)
        .ok_or_else(|| "it is no XMP, or damaged".to_owned())?;
    publisher
        .publish_sidecar(of.root, &sidecar.result, token, &content)
        .map_err(|error| match error {
            crate::publish::PublishError::Taken { path } => {
                format!("{} is there already, and is not one of ours", path.display())
            }
            error => error.to_string(),
        })
}
