//! Owns the job files (`.upscaled/jobs/….json`) and the error texts (`failed/….error.txt`) of an output
//! folder: what they are called and when they are durable. Never decides what a job's state is.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{StatusError, Tenancy};
use crate::error::{ReasonCode, one_line};
use crate::fs::SharedFilesystem;
use crate::publish::{PublishError, remove_document, replace_document};
use crate::report::{JobDocument, JobState};

/// Longest file name of every Linux file system in use; those that allow less say so when asked.
const NAME_BYTES_MAX: usize = 255;

/// Longest path that a system call takes, without its ending zero.
const PATH_BYTES_MAX: usize = 4095;

/// Hex digits of BLAKE3 that stand in for a path that is too long (CONTRACT §3).
const HASH_DIGITS: usize = 32;

/// Writes the job files and error texts of one folder. Cheap to clone; calls may run at the same time.
#[derive(Debug, Clone)]
pub struct JobFiles {
    fs: SharedFilesystem,
    output_root: PathBuf,
    jobs: PathBuf,
    failed: PathBuf,
}

impl JobFiles {
    /// For a folder that has its output folder to itself.
    pub fn new(fs: SharedFilesystem, output_root: PathBuf) -> Self {
        Self::for_tenant(fs, output_root, &Tenancy::Host)
    }

    /// For a folder that may share its output folder.
    pub fn for_tenant(fs: SharedFilesystem, output_root: PathBuf, tenancy: &Tenancy) -> Self {
        let (jobs, failed) = match tenancy {
            Tenancy::Host => (output_root.join(".upscaled/jobs"), output_root.join("failed")),
            Tenancy::Guest(name) => (
                output_root.join(".upscaled").join(format!("jobs.{name}")),
                output_root.join(format!("failed.{name}")),
            ),
        };
        Self {
            fs,
            output_root,
            jobs,
            failed,
        }
    }

    /// Writes the job file of `source` (its path below the input folder, byte for byte), and writes or removes
    /// its error text. To be called at every change of state.
    ///
    /// A final state is synced: a service that starts again has no reason to write it a second time. `queued`
    /// and `running` are not: the next start writes them anew, and a thousand dropped files would cost a
    /// thousand syncs.
    ///
    /// # Errors
    /// [`StatusError::Write`]: the job itself is not affected, the ledger knows.
    pub fn write(&self, doc: &JobDocument, source: &Path) -> Result<(), StatusError> {
        let json = super::json(&self.job_path(source), doc)?;
        self.replace(&self.jobs, source, JOB, &json, doc.state.is_final())?;
        if doc.state == JobState::Failed {
            let text = sidecar_error_text(doc);
            self.replace(&self.failed, source, ERROR_TEXT, text.as_bytes(), true)
        } else {
            self.remove(&self.failed, source, ERROR_TEXT)
        }
    }

    /// Removes what was written about a source: for a job that was removed from the ledger.
    ///
    /// # Errors
    /// [`StatusError::Write`].
    pub fn forget(&self, source: &Path) -> Result<(), StatusError> {
        self.remove(&self.jobs, source, JOB)?;
        self.remove(&self.failed, source, ERROR_TEXT)
    }

    /// Reads the job files back, page by page, in no order.
    pub fn walk(&self) -> JobFileWalk {
        JobFileWalk {
            open: vec![self.jobs.clone()],
            files: Vec::new(),
        }
    }

    /// Where the job file of a source is, or would be.
    pub fn job_path(&self, source: &Path) -> PathBuf {
        spelled(&self.jobs, source, JOB).unwrap_or_else(|| hashed(&self.jobs, source, JOB))
    }

    fn replace(
        &self,
        dir: &Path,
        source: &Path,
        suffix: &str,
        bytes: &[u8],
        durable: bool,
    ) -> Result<(), StatusError> {
        let put = |path: &Path| replace_document(&self.fs, &self.output_root, path, bytes, durable);
        let hashed = hashed(dir, source, suffix);
        Ok(match spelled(dir, source, suffix) {
            Some(path) => match put(&path) {
                // This file system allows less than others.
                Err(PublishError::NameTooLong { .. }) => put(&hashed),
                other => other,
            },
            None => put(&hashed),
        }?)
    }

    fn remove(&self, dir: &Path, source: &Path, suffix: &str) -> Result<(), StatusError> {
        let path = spelled(dir, source, suffix).unwrap_or_else(|| hashed(dir, source, suffix));
        Ok(match remove_document(&self.fs, &path) {
            Err(PublishError::NameTooLong { .. }) => remove_document(&self.fs, &hashed(dir, source, suffix)),
            other => other,
        }?)
    }
}

/// A walk through the job files of a folder.
#[derive(Debug)]
pub struct JobFileWalk {
    /// Directories that were not listed yet.
    open: Vec<PathBuf>,
    /// Files of the last one that were not read yet.
    files: Vec<PathBuf>,
}

impl JobFileWalk {
    /// At most `n` more documents; none at the end. What is no job file is passed over.
    ///
    /// # Errors
    /// [`StatusError::Read`] for a file or directory that is there and cannot be read: that is not the same as none.
    pub fn next_page(&mut self, n: usize) -> Result<Vec<JobDocument>, StatusError> {
        let mut page = Vec::new();
        while page.len() < n {
            let (path, read) = if let Some(file) = self.files.pop() {
                let read = read_document(&file).map(|document| page.extend(document));
                (file, read)
            } else if let Some(dir) = self.open.pop() {
                let listed = self.list(&dir);
                (dir, listed)
            } else {
                break;
            };
            match read {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(StatusError::Read { path, source });
                }
                _ => {}
            }
        }
        Ok(page)
    }

    fn list(&mut self, dir: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            // Links are not followed: nobody can lead us out of the folder.
            if kind.is_dir() {
                self.open.push(entry.path());
            } else if kind.is_file() {
                self.files.push(entry.path());
            }
        }
        Ok(())
    }
}

/// Largest job file that is read back, bytes: a hundred times what we write.
const READ_MAX_BYTES: u64 = 1 << 20;

/// `None` for a file that is no document.
fn read_document(path: &Path) -> io::Result<Option<JobDocument>> {
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path)?;
    file.take(READ_MAX_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > READ_MAX_BYTES {
        return Ok(None);
    }
    Ok(serde_json::from_slice(&bytes).ok())
}

const JOB: &str = ".json";
const ERROR_TEXT: &str = ".error.txt";

/// The source's own path with a suffix; `None` where it is too long for any file system. The directory must
/// leave room for the longest name, because a document is written under a temporary one first.
fn spelled(dir: &Path, source: &Path, suffix: &str) -> Option<PathBuf> {
    let mut name = OsString::from(source.file_name()?);
    name.push(suffix);
    let parent = dir.join(source.parent()?);
    let fits =
        name.len() <= NAME_BYTES_MAX && parent.as_os_str().len() + 1 + NAME_BYTES_MAX <= PATH_BYTES_MAX;
    fits.then(|| parent.join(name))
}

/// The stand-in for a name that is too long.
fn hashed(dir: &Path, source: &Path, suffix: &str) -> PathBuf {
    let hash = blake3::hash(source.as_os_str().as_bytes()).to_hex();
    dir.join(format!("{}{suffix}", &hash[..HASH_DIGITS]))
}

/// The error text of a failed job in plain words: what happened to which file, why, what to do, and the
/// command that tries it again.
pub fn sidecar_error_text(doc: &JobDocument) -> String {
    let (code, why) = match &doc.reason {
        Some(reason) => (Some(reason.code), reason.message.as_str()),
        None => (None, "no reason was recorded"),
    };
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = writeln!(text, "{} could not be upscaled.\n", one_line(&doc.source));
    let _ = writeln!(text, "Why:         {why}");
    let _ = writeln!(text, "What to do:  {}", advice(code));
    if let Some(job) = doc.job {
        let _ = writeln!(text, "Try again:   upscaled jobs retry {job}");
    }
    text.push('\n');
    if let Some(job) = doc.job {
        let _ = writeln!(text, "Job:         {job}");
    }
    if let Some(folder) = &doc.folder {
        let _ = writeln!(text, "Folder:      {folder}");
    }
    if let Some(code) = code {
        let _ = writeln!(text, "Code:        {code}");
    }
    if let Some(at) = doc.finished_at {
        let _ = writeln!(text, "When:        {}", at.strftime("%Y-%m-%d %H:%M:%S UTC"));
    }
    let _ = writeln!(text, "Attempts:    {}", doc.attempts);
    text.push_str(
        "\nThe source is where it was, unchanged. This file goes away when the job is tried again.\n",
    );
    text
}

/// What a person can do about a failure of this kind.
fn advice(code: Option<ReasonCode>) -> &'static str {
    match code {
        Some(ReasonCode::Unreadable) => {
            "open the file in a viewer; if it shows there, save it anew as PNG or JPEG and drop it again, else \
             remove it"
        }
        Some(ReasonCode::Truncated) => {
            "the copy ended early: copy the whole file here again, it is then taken by itself"
        }
        Some(ReasonCode::TooLarge) => {
            "raise max_pixels, choose a smaller scale or a model with a smaller one, or drop a smaller picture"
        }
        Some(ReasonCode::Unsupported) => "convert the file to PNG, JPEG, WebP or TIFF and drop it again",
        Some(ReasonCode::OutOfMemory) => {
            "raise [memory] device or close what else uses the device, then try it again"
        }
        Some(ReasonCode::Model) => {
            "run `upscaled doctor`; if other pictures work, try it again with another model"
        }
        Some(ReasonCode::CrashedService) => {
            "the service ended during each attempt: look into its log, then try it again alone"
        }
        Some(ReasonCode::Timeout) => "raise job_timeout or drop a smaller picture, then try it again",
        Some(ReasonCode::Io) => {
            "see to the disk, the share or the permissions named above, then try it again"
        }
        None => "try it again",
    }
}
