//! Owns the intake tasks, one per folder: how they are made from the configuration, woken, ended and begun again.
//! Never looks at a file.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::ServiceError;
use super::shared::{Shared, recipe_hash};
use crate::codec::{Ending, ends_properly};
use crate::config::{Folder, OnSuccess, planned_output};
use crate::error::{Fault, Reason, ReasonCode};
use crate::inference::ModelCard;
use crate::intake::settle::MAX_CANDIDATES;
use crate::intake::{
    FolderIntake, IntakeStatus, NameFilter, NotifySource, OnceSummary, hashing_permits, scan_once,
    watch_folder,
};
use crate::queue::Admission;
use crate::report::JobState;

/// How often a folder's model is looked at: a `stat`, and nobody waits for a new file longer.
const MODEL_LOOK: Duration = Duration::from_secs(5);

/// How often a folder that could not be opened yet is asked for.
const OPENED_LOOK: Duration = Duration::from_secs(1);

/// One wish for a rescan that waits is as good as ten.
const RESCANS_IN_FLIGHT: usize = 1;

/// A folder's intake as status sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// The folder's name.
    pub folder: String,
    /// What its intake does at the moment.
    pub status: watch::Receiver<IntakeStatus>,
}

/// The views of all folders; replaced as a whole when the configuration changes.
pub type Views = watch::Receiver<Vec<View>>;

/// The running intakes.
#[derive(Debug)]
pub struct Intakes {
    tasks: JoinSet<()>,
    rescans: Vec<mpsc::Sender<()>>,
    stop: watch::Sender<bool>,
    views: watch::Sender<Vec<View>>,
}

impl Intakes {
    /// Starts one for each folder of the configuration of the moment.
    pub fn start(shared: &Arc<Shared>) -> Self {
        let mut intakes = Self {
            tasks: JoinSet::new(),
            rescans: Vec::new(),
            stop: watch::Sender::new(false),
            views: watch::Sender::new(Vec::new()),
        };
        intakes.restart(shared);
        intakes
    }

    /// For status.
    pub fn views(&self) -> Views {
        self.views.subscribe()
    }

    /// Starts them all, after [`Intakes::stop`].
    pub fn restart(&mut self, shared: &Arc<Shared>) {
        self.stop.send_replace(false);
        self.rescans.clear();
        let hashing = hashing_permits();
        let mut views = Vec::new();
        for folder in &shared.config().folders {
            let (status, receiver) = watch::channel(IntakeStatus::default());
            views.push(View {
                folder: folder.name.clone(),
                status: receiver,
            });
            let (rescan, asked) = mpsc::channel(RESCANS_IN_FLIGHT);
            self.rescans.push(rescan);
            let tended = Tended {
                shared: Arc::clone(shared),
                folder: folder.clone(),
                hashing: Arc::clone(&hashing),
                status,
            };
            self.tasks.spawn(tended.run(asked, self.stop.subscribe()));
        }
        self.views.send_replace(views);
    }

    /// Scans all folders now, and asks blocked ones whether they work again.
    pub fn rescan(&self, shared: &Shared) {
        tracing::info!("rescan asked for");
        shared.blocks.hurry(shared.clock.monotonic());
        for rescan in &self.rescans {
            // Full: one is waiting already.
            let _ = rescan.try_send(());
        }
        shared.rescan.notify_one();
        shared.work.notify_one();
    }

    /// Ends them all and waits for it.
    pub async fn stop(&mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

/// One scan of every folder, all at a time.
///
/// # Errors
/// A folder whose model cannot be used: nobody is there to correct it.
pub async fn scan_all(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> Result<(), ServiceError> {
    let hashing = hashing_permits();
    let mut scans = JoinSet::new();
    for folder in &shared.config().folders {
        let model = shared.model(folder).await.map_err(|error| ServiceError::Model {
            folder: folder.name.clone(),
            error,
        })?;
        if !shared.has_learned(folder).await {
            // It is blocked, and that is told.
            continue;
        }
        let Some(intake) = intake(&shared, folder, &model, &hashing) else {
            continue;
        };
        let name = folder.name.clone();
        scans.spawn(async move { (name, scan_once(intake).await) });
    }
    loop {
        tokio::select! {
            scan = scans.join_next() => match scan {
                Some(Ok((_, Ok(summary)))) => tell_left_out(&summary),
                Some(Ok((name, Err(error)))) => shared.block(&name, &Fault::from(error).reason),
                Some(Err(error)) => tracing::error!("a scan ended unexpectedly ({error}); please report it"),
                None => return Ok(()),
            },
            // Dropping the set ends the scans; what they admitted stays admitted.
            _ = stop.wait_for(|stop| *stop) => return Ok(()),
        }
    }
}

/// What one pass did not take in, and why.
fn tell_left_out(summary: &OnceSummary) {
    for held in &summary.held {
        tracing::warn!("{}: still being written; left to a later run", held.display());
    }
    for problem in &summary.problems {
        tracing::warn!("{problem}");
    }
}

/// A folder that is watched, with what its intake is made from.
struct Tended {
    shared: Arc<Shared>,
    folder: Folder,
    hashing: Arc<Semaphore>,
    status: watch::Sender<IntakeStatus>,
}

impl Tended {
    /// Watches the folder until `stop` turns true. Whether a result is there already depends on the model, so intake
    /// begins when the model is known, and anew with another one.
    async fn run(self, mut rescans: mpsc::Receiver<()>, mut stop: watch::Receiver<bool>) {
        // An error: whoever could stop it is gone.
        while !*stop.borrow() && stop.has_changed().is_ok() {
            if !self.shared.has_learned(&self.folder).await {
                tokio::select! {
                    () = sleep(OPENED_LOOK) => {}
                    _ = stop.wait_for(|stop| *stop) => {}
                }
                continue;
            }
            let model = match self.shared.model(&self.folder).await {
                Ok(model) => model,
                Err(error) => {
                    self.shared.block(&self.folder.name, &Fault::from(error).reason);
                    tokio::select! {
                        () = sleep(MODEL_LOOK) => {}
                        _ = stop.wait_for(|stop| *stop) => {}
                    }
                    continue;
                }
            };
            let Some(intake) = intake(&self.shared, &self.folder, &model, &self.hashing) else {
                return;
            };
            let (end, ended) = watch::channel(false);
            let (rescan, asked) = mpsc::channel(RESCANS_IN_FLIGHT);
            let mut watching = std::pin::pin!(watch_folder(intake, asked, self.status.clone(), ended));
            loop {
                tokio::select! {
                    () = &mut watching => return,
                    _ = stop.wait_for(|stop| *stop) => break,
                    () = self.another_model(&model) => break,
                    // Full: one is waiting already.
                    Some(()) = rescans.recv() => drop(rescan.try_send(())),
                }
            }
            end.send_replace(true);
            watching.await;
        }
    }

    /// Ends when the folder's model is another than this one. One that cannot be used is no other: the jobs wait and
    /// say why, and what arrives meanwhile is queued.
    async fn another_model(&self, model: &ModelCard) {
        loop {
            tokio::select! {
                () = sleep(MODEL_LOOK) => {}
                () = self.shared.model_changed.notified() => {}
            }
            if let Ok(now) = self.shared.model(&self.folder).await
                && now.sha256 != model.sha256
            {
                let (folder, sha256) = (&self.folder.name, &now.sha256);
                tracing::info!(folder, %sha256, "the model of folder {folder} is another one now");
                return;
            }
        }
    }
}

/// A folder's intake. `None`, and the folder is blocked, where its patterns cannot be read.
fn intake(
    shared: &Arc<Shared>,
    folder: &Folder,
    model: &ModelCard,
    hashing: &Arc<Semaphore>,
) -> Option<FolderIntake> {
    let filter = NameFilter::new(folder)
        .map_err(|error| {
            let reason = Reason::new(ReasonCode::Model, error.to_string());
            shared.block(&folder.name, &reason);
        })
        .ok()?;
    let (recipe, scale) = (folder.recipe.clone(), model.scale.to_string());
    let (told, goes) = (Arc::clone(shared), folder.on_success != OnSuccess::Keep);
    let config = shared.config();
    let others = config
        .folders
        .iter()
        .filter(|other| other.output != folder.output);
    Some(FolderIntake {
        folder: folder.clone(),
        chained: others.map(|other| other.output.clone()).collect(),
        filter,
        recipe: recipe_hash(folder, &model.sha256),
        store: shared.store.clone(),
        clock: shared.clock.clone(),
        source: Arc::new(NotifySource),
        plan_output: Arc::new(move |source| {
            planned_output(&recipe, source, &scale).map_err(|error| error.to_string())
        }),
        looks_complete: |path| Ok(ends_properly(path)? != Ending::Incomplete),
        candidates: MAX_CANDIDATES,
        hashing: Arc::clone(hashing),
        on_admitted: Arc::new(move |admitted| match admitted.admission {
            Admission::New(id) | Admission::Requeued(id) => {
                told.announce_later(id);
                told.work.notify_one();
            }
            Admission::Known(id, JobState::Done) if goes => told.dispose_later(id),
            Admission::Known(..) => {}
        }),
    })
}
