//! Owns the intake tasks, one per folder: how they are made from the configuration, woken, ended and begun again.
//! Never looks at a file.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::ServiceError;
use super::shared::{Shared, recipe_hash};
use crate::codec::{Ending, ends_properly};
use crate::config::{Folder, planned_output};
use crate::error::{Fault, Reason, ReasonCode};
use crate::inference::{Model, UnknownModel};
use crate::intake::{
    FolderIntake, IntakeStatus, NameFilter, NotifySource, OnceSummary, hashing_permits, scan_once,
    watch_folder,
};
use crate::queue::Admission;

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
            let Some(intake) = intake(shared, folder, &hashing) else {
                continue;
            };
            let (status, receiver) = watch::channel(IntakeStatus::default());
            views.push(View {
                folder: folder.name.clone(),
                status: receiver,
            });
            let (rescan, asked) = mpsc::channel(RESCANS_IN_FLIGHT);
            self.rescans.push(rescan);
            self.tasks
                .spawn(watch_folder(intake, asked, status, self.stop.subscribe()));
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
/// A folder whose model nobody knows: nobody is there to correct it.
pub async fn scan_all(shared: Arc<Shared>, mut stop: watch::Receiver<bool>) -> Result<(), ServiceError> {
    let hashing = hashing_permits();
    let mut scans = JoinSet::new();
    for folder in &shared.config().folders {
        recipe_hash(folder).map_err(|error| ServiceError::Model {
            folder: folder.name.clone(),
            error,
        })?;
        let Some(intake) = intake(&shared, folder, &hashing) else {
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

/// A folder's intake. `None`, and the folder is blocked, where its model is unknown: without the model nobody
/// can tell which results are there already.
fn intake(shared: &Arc<Shared>, folder: &Folder, hashing: &Arc<Semaphore>) -> Option<FolderIntake> {
    let block = |message: String| shared.block(&folder.name, &Reason::new(ReasonCode::Model, message));
    let unknown = |error: UnknownModel| block(error.to_string());
    let model = Model::find(&folder.recipe.model).map_err(unknown).ok()?;
    let recipe_hash = recipe_hash(folder).map_err(unknown).ok()?;
    let filter = NameFilter::new(folder)
        .map_err(|error| block(error.to_string()))
        .ok()?;
    let (recipe, scale) = (folder.recipe.clone(), model.card.scale.to_string());
    let told = Arc::clone(shared);
    Some(FolderIntake {
        folder: folder.clone(),
        filter,
        recipe: recipe_hash,
        store: shared.store.clone(),
        clock: shared.clock.clone(),
        source: Arc::new(NotifySource),
        plan_output: Arc::new(move |source| {
            planned_output(&recipe, source, &scale).map_err(|error| error.to_string())
        }),
        looks_complete: |path| Ok(ends_properly(path)? != Ending::Incomplete),
        hashing: Arc::clone(hashing),
        on_admitted: Arc::new(move |admitted| {
            if !matches!(admitted.admission, Admission::Known(..)) {
                told.announce_later(admitted.admission.id());
                told.work.notify_one();
            }
        }),
    })
}
