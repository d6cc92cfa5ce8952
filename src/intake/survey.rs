//! Owns the work that the loop of a folder sends off: the survey (is the folder there, watch it, then scan it) and
//! the look at what events name. Never keeps anything between two calls.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::fs::FileIdentity;
use crate::queue::QueueError;

use super::FolderIntake;
use super::place::{self, Offline, RootId};
use super::scan::{self, Found, Scan, Wanted, is_result_folder};
use super::watch::{FsEvent, Watch};

/// How a survey begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    /// The folder that is being watched, or that could not be.
    pub(super) root: Option<RootId>,
    /// Whether to try to watch even the same folder anew.
    pub(super) watch_again: bool,
}

/// What a survey found.
#[derive(Debug)]
pub(super) enum Survey {
    /// The folder cannot be looked at.
    Offline(Offline),
    /// The ledger did not answer, so nobody knows which files are new.
    Ledger(QueueError),
    /// A defect of ours; the line is for the log.
    Broken(String),
    /// A scan.
    Done {
        /// The folder that was scanned.
        root: RootId,
        /// The watch that was begun before the scan, or why there is none; `None`: the one there is still good.
        watch: Option<Result<Watch, String>>,
        /// The kind of network file system that the folder or a part of it is on.
        on_network: bool,
        /// Files that the ledger does not know as they are.
        scan: Scan,
    },
}

/// Surveys the folder: watch first, then scan, so that nothing falls in between.
///
/// May be dropped at any await.
pub(super) async fn survey(ctx: Arc<FolderIntake>, plan: Plan, halt: Arc<AtomicBool>) -> Survey {
    let known = match ctx.store.known_files(&ctx.folder.name, &ctx.recipe).await {
        Ok(known) => known,
        Err(error) => return Survey::Ledger(error),
    };
    let surveyed = tokio::task::spawn_blocking(move || {
        let root = RootId::read(&ctx.folder.input)?;
        place::refuse_own_output(&ctx.folder.input, &ctx.folder.output)?;
        let network = place::network_kind(&ctx.folder.input);
        let watch = (plan.watch_again || plan.root != Some(root)).then(|| open_watch(&ctx, network));
        let mut wanted = Wanted {
            input: &ctx.folder.input,
            filter: &ctx.filter,
            chained: &ctx.chained,
            keep: &mut |found| !known.contains(&found.rel, &found.identity),
            limit: ctx.candidates,
            halt: &halt,
        };
        let scan = scan::walk(&mut wanted, Path::new(""))?;
        Ok(Survey::Done {
            root,
            watch,
            on_network: network.is_some() || scan.network.is_some(),
            scan,
        })
    })
    .await;
    match surveyed {
        Ok(Ok(survey)) => survey,
        Ok(Err(offline)) => Survey::Offline(offline),
        Err(error) => Survey::Broken(format!("the scan ended unexpectedly ({error}); please report it")),
    }
}

fn open_watch(ctx: &FolderIntake, network: Option<&'static str>) -> Result<Watch, String> {
    match network {
        Some(kind) => Err(format!(
            "the folder is on a share ({kind}), which gives no events; found by scans"
        )),
        None => ctx
            .source
            .watch(&ctx.folder.input, ctx.filter.recursive())
            .map_err(|error| error.to_string()),
    }
}

/// What lies where events pointed.
#[derive(Debug, Default)]
pub(super) struct Looked {
    /// Files as they are now.
    pub(super) found: Vec<Found>,
    /// Paths below the input folder where no wanted file lies now.
    pub(super) gone: Vec<PathBuf>,
    /// Directories that came into being, to be walked once more a little later.
    pub(super) directories: Vec<PathBuf>,
    /// Only a scan can tell.
    pub(super) rescan: bool,
    /// One line for each thing that could not be looked at.
    pub(super) problems: Vec<String>,
}

/// Looks at what a batch of events names.
///
/// May be dropped at any await.
pub(super) async fn look_at(ctx: Arc<FolderIntake>, batch: Vec<FsEvent>, halt: Arc<AtomicBool>) -> Looked {
    let looked = tokio::task::spawn_blocking(move || {
        let mut looked = Looked::default();
        let mut results = Results::default();
        for event in batch {
            match event {
                FsEvent::Touched(path) | FsEvent::Directory(path) => {
                    looked.path(&ctx, path, &mut results, &halt);
                }
                FsEvent::Rescan | FsEvent::RootGone | FsEvent::Blind(_) => looked.rescan = true,
            }
        }
        looked
    });
    // After a defect of ours the scan still finds everything.
    looked.await.unwrap_or_else(|_| Looked {
        rescan: true,
        ..Looked::default()
    })
}

impl Looked {
    fn path(&mut self, ctx: &FolderIntake, path: PathBuf, results: &mut Results, halt: &AtomicBool) {
        let Ok(rel) = path.strip_prefix(&ctx.folder.input) else {
            return;
        };
        if rel.as_os_str().is_empty() {
            // The input folder itself: its rights changed, or it was replaced.
            self.rescan = true;
            return;
        }
        let (as_file, as_dir) = (ctx.filter.accepts_file(rel), ctx.filter.accepts_dir(rel));
        if (!as_file && !as_dir) || results.hold(ctx, rel) {
            return;
        }
        match path.symlink_metadata() {
            Ok(meta) if meta.is_dir() => {
                if as_dir {
                    self.tree(ctx, rel, halt);
                    self.directories.push(path);
                }
            }
            Ok(meta) if as_file && meta.is_file() && meta.len() > 0 => self.found.push(Found {
                rel: rel.to_owned(),
                identity: FileIdentity::of(&meta),
            }),
            // Gone, empty, or something else by now. A passing error is the scan's to find out.
            Ok(_) | Err(_) => self.gone.push(rel.to_owned()),
        }
    }

    fn tree(&mut self, ctx: &FolderIntake, rel: &Path, halt: &AtomicBool) {
        let mut wanted = Wanted {
            input: &ctx.folder.input,
            filter: &ctx.filter,
            chained: &ctx.chained,
            keep: &mut |_| true,
            limit: ctx.candidates,
            halt,
        };
        match scan::walk(&mut wanted, rel) {
            Ok(scan) => {
                self.found.extend(scan.files);
                self.problems.extend(scan.problems);
                self.rescan |= scan.more;
            }
            Err(_) => self.rescan = true,
        }
    }
}

/// Which directories of one batch of events hold results; each is looked at once.
#[derive(Debug, Default)]
struct Results {
    judged: HashMap<PathBuf, bool>,
}

impl Results {
    /// Whether a directory above `rel` does. One that is the event itself is judged by the walk.
    fn hold(&mut self, ctx: &FolderIntake, rel: &Path) -> bool {
        let above = rel
            .ancestors()
            .skip(1)
            .take_while(|dir| !dir.as_os_str().is_empty());
        for dir in above {
            let judge = || is_result_folder(&ctx.folder.input.join(dir), &ctx.folder.input, &ctx.chained);
            let holds = match self.judged.get(dir) {
                Some(holds) => *holds,
                None => *self.judged.entry(dir.to_owned()).or_insert_with(judge),
            };
            if holds {
                return true;
            }
        }
        false
    }
}
