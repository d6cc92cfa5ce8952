//! Owns the workers: one for each device of the configuration, beside each other. A device that can do no more takes
//! its worker with it and nobody else's. Never claims a job and never looks into one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::error::ServiceError;
use super::shared::{Shared, lock};
use super::worker::{Worked, Worker};
use crate::budget::Budget;
use crate::clock::Monotonic;
use crate::config::{Config, Provider};
use crate::error::Reason;
use crate::inference::{Catalogue, SessionSettings};
use crate::pipeline::executor::ExecutorSettings;
use crate::queue::Claim;

/// A driver may come back, after an update of it or of the container; trying costs one job a second.
const RETRY_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Where a device's worker is.
#[derive(Debug)]
enum Seat {
    /// Here.
    Idle(Box<Worker>),
    /// At work.
    Busy,
    /// Gone, as long as nothing changes; tried again then, if ever.
    Out { again_at: Option<Monotonic> },
}

/// What a worker came back with.
pub(super) type Ended = (Box<Worker>, Result<Worked, ServiceError>);

/// The workers, by the numbers of their devices.
#[derive(Debug)]
pub(super) struct Crew {
    shared: Arc<Shared>,
    /// What executors are wanted.
    wanted: Vec<ExecutorSettings>,
    /// What they share.
    host: Arc<Budget>,
    seats: BTreeMap<u32, Seat>,
    busy: JoinSet<Ended>,
    /// Turns true when whoever works is to come to an end.
    halt: watch::Sender<bool>,
}

impl Crew {
    /// A worker for each device of the configuration of the moment, all idle. Once `stop` turns true, they come to an
    /// end.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn assemble(
        shared: Arc<Shared>,
        mut stop: watch::Receiver<bool>,
    ) -> Result<Self, ServiceError> {
        let wanted = executors(&shared.config(), &shared.catalogue);
        let halt = watch::Sender::new(false);
        let told = halt.clone();
        tokio::spawn(async move {
            // Whoever would stop it may be gone.
            if stop.wait_for(|stop| *stop).await.is_ok() {
                told.send_replace(true);
            }
        });
        let mut crew = Self {
            shared,
            host: wanted[0].host_budget(),
            wanted,
            seats: BTreeMap::new(),
            busy: JoinSet::new(),
            halt,
        };
        crew.fill_seats()?;
        Ok(crew)
    }

    /// Draws the conclusions from a configuration that was read again: who is out gets another chance, too.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn follow(&mut self, config: &Config) -> Result<(), ServiceError> {
        let wanted = executors(config, &self.shared.catalogue);
        if wanted != self.wanted {
            self.host = wanted[0].host_budget();
            self.wanted = wanted;
        }
        let wanted = &self.wanted;
        self.seats.retain(|_, seat| match seat {
            Seat::Idle(worker) => wanted.contains(worker.settings()),
            Seat::Busy => true,
            Seat::Out { .. } => false,
        });
        self.fill_seats()
    }

    /// Gives those another chance whose time has come.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn retry(&mut self, now: Monotonic) -> Result<(), ServiceError> {
        let seats = self.seats.len();
        self.seats.retain(|_, seat| match seat {
            Seat::Out { again_at } => again_at.is_none_or(|at| now < at),
            Seat::Idle(_) | Seat::Busy => true,
        });
        if self.seats.len() == seats {
            return Ok(());
        }
        self.fill_seats()
    }

    fn fill_seats(&mut self) -> Result<(), ServiceError> {
        for settings in &self.wanted {
            let device_id = settings.session.device_id;
            if self.seats.contains_key(&device_id) {
                continue;
            }
            let shared = &self.shared;
            let host = Arc::clone(&self.host);
            let executor = (shared.make_executor)(settings.clone(), host, shared.clock.clone())?;
            lock(&shared.devices).insert(device_id, executor.shared_facts());
            let worker = Worker::new(
                Arc::clone(shared),
                settings.clone(),
                executor,
                self.halt.subscribe(),
            );
            self.seats.insert(device_id, Seat::Idle(Box::new(worker)));
        }
        let seats = &self.seats;
        lock(&self.shared.devices).retain(|device_id, _| seats.contains_key(device_id));
        Ok(())
    }

    /// Somebody who has nothing to do.
    pub(super) fn idle(&self) -> Option<&Worker> {
        self.seats.values().find_map(|seat| match seat {
            Seat::Idle(worker) => Some(worker.as_ref()),
            Seat::Busy | Seat::Out { .. } => None,
        })
    }

    /// Whether somebody works.
    pub(super) fn is_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Has the first who is idle bring the job to its end.
    ///
    /// # Panics
    /// If nobody is idle: who claims has looked.
    pub(super) fn send(&mut self, claim: Claim) {
        let idle = |seat: &&mut Seat| matches!(seat, Seat::Idle(_));
        let seat = self
            .seats
            .values_mut()
            .find(idle)
            .map(|seat| std::mem::replace(seat, Seat::Busy));
        let Some(Seat::Idle(mut worker)) = seat else {
            unreachable!("a job was claimed for nobody");
        };
        self.busy.spawn(async move {
            let worked = worker.work(claim).await;
            (worker, worked)
        });
    }

    /// The next who comes back; never, while nobody works. May be dropped at any await.
    pub(super) async fn ended(&mut self) -> Ended {
        match self.busy.join_next().await {
            Some(Ok(ended)) => ended,
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Takes somebody back who works on.
    ///
    /// # Errors
    /// If the system grants no thread.
    pub(super) fn take_back(&mut self, worker: Box<Worker>) -> Result<(), ServiceError> {
        let device_id = worker.device_id();
        if self.wanted.contains(worker.settings()) {
            self.seats.insert(device_id, Seat::Idle(worker));
            return Ok(());
        }
        self.seats.remove(&device_id);
        drop(worker);
        self.fill_seats()
    }

    /// Whether somebody else than this worker can go on.
    pub(super) fn has_others(&self, worker: &Worker) -> bool {
        let works = |seat: &Seat| !matches!(seat, Seat::Out { .. });
        let mut others = self.seats.iter().filter(|(id, _)| **id != worker.device_id());
        others.any(|(_, seat)| works(seat))
    }

    /// Goes on without this worker. One that is not `lost` for good is tried again after a while.
    pub(super) fn dismiss(&mut self, worker: Box<Worker>, reason: &Reason, is_lost: bool) {
        let device_id = worker.device_id();
        tracing::error!(
            device = device_id,
            "device {device_id} is out of use, the others go on: {reason}"
        );
        drop(worker);
        let out_of_use = Some(reason.message.clone());
        if let Some(facts) = lock(&self.shared.devices).get(&device_id) {
            facts.update(|facts| {
                facts.model = None;
                facts.out_of_use = out_of_use;
            });
        }
        let again_at = (!is_lost).then(|| self.shared.clock.monotonic() + RETRY_INTERVAL);
        self.seats.insert(device_id, Seat::Out { again_at });
        self.shared.news.notify_one();
    }

    /// Waits for all who work; where something failed, they are asked to come to an end. The first failure counts.
    ///
    /// # Errors
    /// The first one.
    pub(super) async fn finish(&mut self, outcome: Result<(), ServiceError>) -> Result<(), ServiceError> {
        let mut outcome = outcome;
        while self.is_busy() {
            if outcome.is_err() {
                self.halt.send_replace(true);
            }
            let (_, worked) = self.ended().await;
            outcome = outcome.and(worked.map(drop));
        }
        outcome
    }
}

/// What the configuration says to the executor of its first device.
pub fn executor_settings(config: &Config, catalogue: &Arc<Catalogue>) -> ExecutorSettings {
    let runtime = &config.runtime;
    ExecutorSettings {
        catalogue: Arc::clone(catalogue),
        library: runtime.library.clone(),
        session: SessionSettings {
            providers: runtime.providers.clone(),
            device_id: runtime.device_ids.first().copied().unwrap_or(0),
            threads: runtime.threads,
            precision: runtime.precision,
            engines_dir: config.state_dir.join("engines"),
            choices: runtime.choices.clone(),
        },
        // The default list tries everything; only a list that somebody wrote is a wish.
        warn_skipped: runtime.providers_chosen && runtime.providers != [Provider::Cpu],
        device_bytes: config.memory.device_bytes,
        host_bytes: config.memory.host_bytes,
        engine_builder: None,
        begins_on_cpu: true,
        unload_after: runtime.unload_after,
    }
}

/// What it says to the executors of all its devices, one at least. The processor is one device, however many numbers
/// there are.
fn executors(config: &Config, catalogue: &Arc<Catalogue>) -> Vec<ExecutorSettings> {
    let first = ExecutorSettings {
        // Not by its path: a daemon that runs on while its binary is replaced asks itself, not its successor.
        engine_builder: Some("/proc/self/exe".into()),
        ..executor_settings(config, catalogue)
    };
    let has_numbers = first
        .session
        .providers
        .iter()
        .any(|provider| *provider != Provider::Cpu);
    let others: &[u32] = match config.runtime.device_ids.split_first() {
        Some((_, others)) if has_numbers => others,
        _ => &[],
    };
    let mut all = vec![first];
    for device_id in others {
        if all.iter().any(|known| known.session.device_id == *device_id) {
            continue;
        }
        let mut settings = all[0].clone();
        settings.session.device_id = *device_id;
        settings.begins_on_cpu = false;
        all.push(settings);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFilesystem;

    fn devices(providers: &[Provider], device_ids: &[u32]) -> Vec<(u32, bool)> {
        let mut config = Config::default();
        config.runtime.providers = providers.to_vec();
        config.runtime.device_ids = device_ids.to_vec();
        let catalogue = Arc::new(Catalogue::new(Vec::new(), None, RealFilesystem::shared()));
        let all = executors(&config, &catalogue);
        all.iter()
            .map(|one| (one.session.device_id, one.begins_on_cpu))
            .collect()
    }

    #[test]
    fn each_device_has_one_executor_and_the_processor_one_for_all() {
        let gpu = [Provider::Cuda, Provider::Cpu];
        assert_eq!(devices(&gpu, &[0]), [(0, true)]);
        assert_eq!(devices(&gpu, &[1, 0]), [(1, true), (0, false)]);
        assert_eq!(devices(&gpu, &[2, 2]), [(2, true)]);
        assert_eq!(devices(&[Provider::Cpu], &[0, 1]), [(0, true)]);
    }
}
