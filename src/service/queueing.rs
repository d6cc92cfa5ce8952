//! Owns the order of work: when the next job is claimed, which folders are left out, when a blocked one is probed,
//! when there is nothing more. Never looks into a job.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::LEASE;
use super::crew::{Crew, Ended};
use super::error::ServiceError;
use super::shared::{Shared, lock};
use super::start::open_folder;
use super::worker::{Worked, Worker};
use crate::config::Config;
use crate::error::{Fault, ReasonCode};
use crate::inference::InferenceError;
use crate::status::clock_time;

/// How often an idle queue looks: commands change the ledger without telling, and a person who typed
/// `jobs retry` watches the screen.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long `once` waits for a job's next attempt: a little more than after a first failure or a crash.
const ONCE_PATIENCE: Duration = Duration::from_secs(20);

/// Brings the workers and the queue together.
#[derive(Debug)]
pub struct Queueing {
    shared: Arc<Shared>,
    crew: Crew,
    /// The configuration that the crew and the next one follow from.
    followed: Option<Arc<Config>>,
    /// Folders of the ledger that the configuration does not have (any more): their jobs wait for it.
    strangers: Vec<String>,
    /// Whether quiet hours are kept.
    keeps_hours: bool,
}

impl Queueing {
    /// With a crew for the configuration of the moment, which comes to an end once `stop` turns true.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub fn open(shared: Arc<Shared>, stop: watch::Receiver<bool>) -> Result<Self, ServiceError> {
        Ok(Self {
            crew: Crew::assemble(Arc::clone(&shared), stop)?,
            shared,
            followed: None,
            strangers: Vec::new(),
            keeps_hours: true,
        })
    }

    /// Works whatever the schedules say.
    pub fn at_any_time(self) -> Self {
        Self {
            keeps_hours: false,
            ..self
        }
    }

    /// Works until `stop` turns true; the jobs in work are then ended within their grace.
    ///
    /// # Errors
    /// As [`Worker::work`]: the first failure that the others cannot make up for.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), ServiceError> {
        let worked = self.work_until(&mut stop).await;
        self.crew.finish(worked).await
    }

    async fn work_until(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), ServiceError> {
        while !*stop.borrow() {
            if !self.turn().await? {
                self.tell_idle().await?;
                self.wait(stop).await?;
            }
        }
        Ok(())
    }

    /// Works until the scan is over and nothing more can be claimed, or `stop` turns true. Returns how many jobs
    /// are left waiting.
    ///
    /// # Errors
    /// As [`Worker::work`], and those of the scan.
    pub async fn drain(
        &mut self,
        scan: JoinHandle<Result<(), ServiceError>>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<u64, ServiceError> {
        let worked = self.work_off(&scan, &mut stop).await;
        self.crew.finish(worked).await?;
        super::joined(scan.await)?;
        self.tell_idle().await?;
        let counts = self.shared.store.counts().await?;
        let config = self.shared.config();
        let ours = counts.iter().filter(|(name, _)| config.folder(name).is_some());
        Ok(ours.map(|(_, counts)| counts.queued).sum())
    }

    async fn work_off(
        &mut self,
        scan: &JoinHandle<Result<(), ServiceError>>,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), ServiceError> {
        while !*stop.borrow() {
            let over = scan.is_finished();
            if self.turn().await? {
                continue;
            }
            if over && !self.crew.is_busy() && !self.is_due_soon().await? {
                break;
            }
            self.wait(stop).await?;
        }
        Ok(())
    }

    /// Until somebody comes back, there is more to do, or it is time to look.
    async fn wait(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), ServiceError> {
        tokio::select! {
            ended = self.crew.ended() => self.take_back(ended),
            _ = timeout(LOOK_INTERVAL, self.shared.work.notified()) => Ok(()),
            _ = stop.changed() => Ok(()),
        }
    }

    /// What a worker's return means for the rest of the crew.
    fn take_back(&mut self, (worker, worked): Ended) -> Result<(), ServiceError> {
        let has_others = self.crew.has_others(&worker);
        match worked {
            Ok(Worked::NoDevice { reason, .. }) if has_others => self.crew.dismiss(worker, &reason, false),
            Err(ServiceError::DeviceLost(reason)) if has_others => self.crew.dismiss(worker, &reason, true),
            Ok(Worked::NoDevice { folder, reason }) => {
                self.shared.block(&folder, &reason);
                self.crew.take_back(worker)?;
            }
            Ok(Worked::Done) => self.crew.take_back(worker)?,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Whether a job that can be claimed waits for its next attempt, and not for long.
    async fn is_due_soon(&self) -> Result<bool, ServiceError> {
        if !self.shared.blocks.names().is_empty() || self.shared.store.paused().await?.is_some() {
            return Ok(false);
        }
        let soon = self.shared.clock.wall().saturating_add(ONCE_PATIENCE);
        let due = self.shared.store.next_due().await?;
        Ok(due.is_some_and(|due| soon.is_ok_and(|soon| due <= soon)) && self.strangers.is_empty())
    }

    /// Tells that the queue ran empty: nothing waits for this configuration's folders, not even for another attempt or
    /// for a disk. Asks the ledger only while that would be news.
    async fn tell_idle(&self) -> Result<(), ServiceError> {
        if self.crew.is_busy() || !self.shared.is_idle_news() {
            return Ok(());
        }
        let is_empty = match self.shared.store.next_due().await? {
            None => true,
            Some(_) if self.strangers.is_empty() => false,
            Some(_) => {
                let counts = self.shared.store.counts().await?;
                let config = self.shared.config();
                let mut ours = counts.iter().filter(|(name, _)| config.folder(name).is_some());
                ours.all(|(_, counts)| counts.queued == 0)
            }
        };
        if is_empty {
            self.shared.tell_idle();
        }
        Ok(())
    }

    /// One look at the queue. Whether somebody was sent to a job.
    async fn turn(&mut self) -> Result<bool, ServiceError> {
        let now = self.shared.clock.monotonic();
        self.shared.pulse.turned(now);
        if !self.crew.is_busy() {
            self.shared.pulse.progressed(now);
        }
        let config = self.shared.config();
        self.follow(&config).await?;
        self.crew.retry(now)?;
        let quiet = self.quiet(&config);
        if self.crew.idle().is_none() {
            return Ok(false);
        }
        self.probe(&config).await?;
        // A look is a read; only what can succeed takes the write lock.
        match self.shared.store.next_due().await? {
            Some(due) if due <= self.shared.clock.wall() => {}
            _ => return Ok(false),
        }
        let mut excluded = self.shared.blocks.names();
        excluded.extend_from_slice(&self.strangers);
        excluded.extend(quiet);
        if !excluded.is_empty() {
            let counts = self.shared.store.counts().await?;
            if !counts
                .iter()
                .any(|(folder, counts)| counts.queued > 0 && !excluded.contains(folder))
            {
                return Ok(false);
            }
        }
        let store = &self.shared.store;
        let Some(claim) = store.claim(&self.shared.owner, LEASE, &excluded).await? else {
            return Ok(false);
        };
        self.crew.send(claim);
        Ok(true)
    }

    /// The folders whose hours have not come. Asked at every look, by the clock of the moment: one that is put forward
    /// or back, or another zone, is followed within a second. Told once.
    fn quiet(&self, config: &Config) -> Vec<String> {
        if !self.keeps_hours {
            return Vec::new();
        }
        let now = self.shared.clock.local();
        let mut quiet = BTreeMap::new();
        for folder in &config.folders {
            let schedule = config.schedule_of(folder);
            if !schedule.is_open(&now) {
                let opens_at = schedule.opens_at(&now).map(|at| at.timestamp());
                quiet.insert(folder.name.clone(), opens_at.unwrap_or(Timestamp::MAX));
            }
        }
        let before = std::mem::replace(&mut *lock(&self.shared.quiet), quiet.clone());
        if before != quiet {
            for (folder, at) in quiet.iter().filter(|(name, at)| before.get(*name) != Some(at)) {
                tracing::info!(
                    folder,
                    "folder {folder} waits until {} (schedule)",
                    clock_time(*at, &now)
                );
            }
            for folder in before.keys().filter(|name| !quiet.contains_key(*name)) {
                tracing::info!(folder, "folder {folder} works again (schedule)");
            }
            self.shared.news.notify_one();
        }
        quiet.into_keys().collect()
    }

    /// Draws the conclusions from a configuration that was read again.
    async fn follow(&mut self, config: &Arc<Config>) -> Result<(), ServiceError> {
        if self
            .followed
            .as_ref()
            .is_some_and(|followed| Arc::ptr_eq(followed, config))
        {
            return Ok(());
        }
        let ledger = self.shared.store.counts().await?.into_keys();
        self.strangers = ledger.filter(|name| config.folder(name).is_none()).collect();
        self.followed = Some(Arc::clone(config));
        self.crew.follow(config)
    }

    /// Asks blocked folders whose time has come whether they work again.
    async fn probe(&self, config: &Config) -> Result<(), ServiceError> {
        for name in self.shared.blocks.take_due(self.shared.clock.monotonic()) {
            let Some(folder) = config.folder(&name) else {
                continue;
            };
            let for_model = self
                .shared
                .blocks
                .reason(&name)
                .is_some_and(|reason| reason.code == ReasonCode::Model);
            if for_model && let Err(error) = self.try_model(&folder.recipe.model).await {
                let is_lost = matches!(error, InferenceError::DeviceLost(_));
                let reason = Fault::from(error).reason;
                if is_lost {
                    return Err(ServiceError::DeviceLost(reason));
                }
                self.shared.block(&name, &reason);
                continue;
            }
            open_folder(&self.shared, folder).await;
        }
        Ok(())
    }

    async fn try_model(&self, model: &str) -> Result<(), InferenceError> {
        let Some(executor) = self.crew.idle().and_then(Worker::executor) else {
            return Ok(());
        };
        let (send, answer) = oneshot::channel();
        executor.warm_up(model.to_owned(), move |loaded| drop(send.send(loaded)));
        // A thread that is gone is found by the next job.
        answer.await.unwrap_or(Ok(()))
    }
}
