//! Owns what a new ledger learns from a folder's job files: a lost database must not upscale ten thousand pictures again
//! (docs/decisions/0017). Never believes a path that leads out of the folder; the files lie where others can write.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::shared::{Shared, blocking};
use super::watchdog;
use crate::config::{Folder, planned_output};
use crate::error::{Fault, ReasonCode};
use crate::fs::FileIdentity;
use crate::queue::{Adopted, AdoptedEnd, Digest, JobId, NewJob};
use crate::report::{DOCUMENT_VERSION, JobDocument, JobState, unhex};

/// Job files that are read between two transactions.
const PAGE: usize = 500;

/// Takes over what the folder's job files tell, if this ledger has never asked them.
///
/// # Errors
/// The ledger cannot be used.
pub(super) async fn adopt(shared: &Arc<Shared>, folder: &Folder) -> Result<(), Fault> {
    if shared.store.has_adopted(&folder.name).await? {
        return Ok(());
    }
    // Without the model of its own, a job is planned with the folder's of today.
    let scale = shared.model(folder).await.map_err(Fault::from)?.scale.to_string();
    let Some(files) = shared.job_files(&folder.name, folder.output.clone()) else {
        // The configuration has changed meanwhile.
        return Ok(());
    };
    let mut walk = files.walk();
    let mut taken = 0;
    loop {
        let (page, rest) = blocking(move || (walk.next_page(PAGE), walk)).await;
        walk = rest;
        let page = page.map_err(|error| {
            let text = format!(
                "{error}; what became of the folder's pictures is read there, and the queue waits for it"
            );
            Fault::block(ReasonCode::Io, text)
        })?;
        if page.is_empty() {
            break;
        }
        watchdog::busy(&format!("reading the job files of folder {}", folder.name));
        let jobs: Vec<Adopted> = page
            .iter()
            .filter_map(|file| adopted(file, folder, &scale))
            .collect();
        taken += shared.store.adopt(&jobs).await?;
    }
    shared.store.finish_adoption(&folder.name).await?;
    if taken > 0 {
        let folder = folder.name.as_str();
        tracing::warn!(
            folder,
            jobs = taken,
            "the ledger is new: what became of these jobs is taken from their files"
        );
    }
    Ok(())
}

/// The job that ended as this file says; `None` for one that did not end so that it stays ended, and for a file that cannot be believed.
fn adopted(document: &JobDocument, folder: &Folder, scale: &str) -> Option<Adopted> {
    if document.version != DOCUMENT_VERSION || document.folder.as_deref() != Some(&folder.name) {
        return None;
    }
    let source = match &document.source_hex {
        Some(digits) => PathBuf::from(OsString::from_vec(unhex(digits)?)),
        None => PathBuf::from(&document.source),
    };
    let reason = || document.reason.clone();
    let ended = match document.state {
        JobState::Queued | JobState::Running | JobState::Cancelled => return None,
        JobState::Done => AdoptedEnd::Done(below(Path::new(document.result.as_ref()?))?.to_owned()),
        JobState::Failed => AdoptedEnd::Failed(reason()?),
        JobState::Skipped => AdoptedEnd::Skipped(reason()?),
    };
    let source = below(&source)?.to_owned();
    let own_scale = document
        .report
        .model
        .as_ref()
        .map(|model| model.scale.to_string());
    let output = planned_output(&folder.recipe, &source, own_scale.as_deref().unwrap_or(scale)).ok()?;
    let finished_at = document.finished_at?;
    Some(Adopted {
        id: document.job.map(JobId),
        new: NewJob {
            folder: folder.name.clone(),
            source,
            output_root: folder.output.clone(),
            output,
            content: digest(document.source_blake3.as_deref()?)?,
            // A file of an earlier version: upscaled once more, and in the place of this result.
            recipe: document
                .recipe_blake3
                .as_deref()
                .and_then(digest)
                .unwrap_or_default(),
            identity: FileIdentity {
                dev: 0,
                ino: 0,
                size: 0,
                mtime_ns: 0,
                ctime_ns: 0,
            },
            priority: folder.priority,
        },
        ended,
        attempts: document.attempts,
        report: document.report.clone(),
        queued_at: document.queued_at.unwrap_or(finished_at),
        started_at: document.started_at,
        finished_at,
    })
}

/// The path, if it leads to something below a folder.
fn below(path: &Path) -> Option<&Path> {
    let is_below = path
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    (is_below && path.file_name().is_some()).then_some(path)
}

fn digest(digits: &str) -> Option<Digest> {
    unhex(digits)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Reason, ReasonCode};

    fn document() -> JobDocument {
        serde_json::from_value(serde_json::json!({
            "version": 1, "job": 126, "folder": "photos", "source": "trip/a.jpg", "source_blake3": "ab".repeat(32),
            "recipe_blake3": "cd".repeat(32), "state": "done", "attempts": 2, "reason": null,
            "result": "trip/a_4x-1.jpg", "input": null, "output": null,
            "model": { "name": "span-x4", "sha256": "00", "scale": 4 }, "plan": null, "oom_retries": 0,
            "tile_history": [], "device_peak_bytes": null, "host_peak_bytes": null, "warnings": [], "seconds": null,
            "queued_at": "2026-11-23T08:00:00Z", "started_at": null, "finished_at": "2026-11-23T08:01:00Z"
        }))
        .unwrap()
    }

    fn folder() -> Folder {
        Folder::new("photos", "/in", "/out")
    }

    #[test]
    fn a_done_job_keeps_its_number_its_key_and_its_place() {
        let adopted = adopted(&document(), &folder(), "4").unwrap();
        assert_eq!(adopted.id, Some(JobId(126)));
        assert_eq!(adopted.ended, AdoptedEnd::Done(PathBuf::from("trip/a_4x-1.jpg")));
        assert_eq!(
            (adopted.new.content, adopted.new.recipe),
            ([0xab; 32], [0xcd; 32])
        );
        assert_eq!(adopted.new.output, Path::new("trip/a_4x.jpg"));
    }

    #[test]
    fn a_failure_is_taken_over_with_its_reason_and_what_waited_or_was_called_off_is_not() {
        let reason = Reason::new(ReasonCode::CrashedService, "three times");
        let failed = JobDocument {
            state: JobState::Failed,
            reason: Some(reason.clone()),
            result: None,
            ..document()
        };
        assert_eq!(
            adopted(&failed, &folder(), "4").unwrap().ended,
            AdoptedEnd::Failed(reason)
        );
        for state in [JobState::Queued, JobState::Running, JobState::Cancelled] {
            assert_eq!(
                adopted(&JobDocument { state, ..document() }, &folder(), "4"),
                None
            );
        }
    }

    #[test]
    fn a_file_that_leads_out_of_the_folder_or_is_another_s_is_not_believed() {
        let result = |result: &str| JobDocument {
            result: Some(result.to_owned()),
            ..document()
        };
        let source = |source: &str| JobDocument {
            source: source.to_owned(),
            ..document()
        };
        for bad in [
            result("../a.jpg"),
            result("/etc/passwd"),
            result(""),
            source("../../a.jpg"),
            source("/a.jpg"),
            JobDocument {
                folder: Some("scans".to_owned()),
                ..document()
            },
            JobDocument {
                source_blake3: Some("ab".to_owned()),
                ..document()
            },
            JobDocument {
                source_hex: Some("zz".to_owned()),
                ..document()
            },
            JobDocument {
                finished_at: None,
                ..document()
            },
            JobDocument {
                version: 2,
                ..document()
            },
        ] {
            assert_eq!(adopted(&bad, &folder(), "4"), None, "{bad:?}");
        }
    }
}
