//! Random lives of a ledger: after each step it agrees with the model, and its own rows agree with each other.

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestCaseError, TestRng, TestRunner};

use super::model::{End, Model, PATHS};
use super::never::NEVER;
use super::steps::{Step, step};
use super::*;
use crate::config::Schedule;
use crate::queue::{Filter, Known, QueueError, Renewal, Resolution, State, Steered, recover};

/// So many lives of so many steps fit into a few seconds of a slow disk.
const LIVES: u32 = 32;
const STEPS: usize = 60;

const FOLDERS: [&str; 2] = ["photos", "scans"];

/// A ledger, its model, and what the process of the moment holds.
struct Life {
    dir: TempDir,
    clock: Arc<SetClock>,
    store: Store,
    model: Model,
    held: Vec<Claim>,
    /// Claims of processes that died.
    stale: Vec<Claim>,
    process: u32,
    stamp: i64,
}

impl Life {
    async fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = SetClock::at(1_763_942_400_000);
        let store = Store::open(dir.path(), clock.clone()).await.unwrap();
        let model = Model {
            now: clock.now_ms(),
            ..Model::default()
        };
        Self {
            dir,
            clock,
            store,
            model,
            held: Vec::new(),
            stale: Vec::new(),
            process: 1,
            stamp: 0,
        }
    }

    fn owner(&self) -> String {
        format!("upscaled-{}", self.process)
    }

    fn take(&mut self, n: usize) -> Option<Claim> {
        (!self.held.is_empty()).then(|| self.held.remove(n % self.held.len()))
    }

    async fn apply(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Admit(at, content, touched, priority) => {
                self.admit(at, content, touched, priority).await;
            }
            Step::Claim(excluded) => {
                let named = FOLDERS.into_iter().enumerate();
                let named = named.filter(|(bit, _)| excluded & (1 << bit) != 0);
                self.claim(named.map(|(_, name)| name.to_owned()).collect())
                    .await?;
            }
            Step::ClaimByHours => self.claim(self.outside_hours()).await?,
            Step::Work(over) => {
                self.claim(Vec::new()).await?;
                if let Some(claim) = self.held.pop() {
                    self.done(claim, over).await?;
                }
            }
            Step::Retry(n) | Step::Cancel(n) | Step::Remove(n) if n >= self.model.jobs.len() => {}
            Step::Remove(n) => {
                let id = JobId(i64::try_from(n).unwrap() + 1);
                let there = !self.model.row(id).removed;
                let steered = self.store.remove(&[id]).await.unwrap().remove(0).1;
                prop_assert_eq!(!matches!(steered, Steered::Unknown), there);
                self.model.remove(id);
            }
            Step::Retry(n) => {
                let id = JobId(i64::try_from(n).unwrap() + 1);
                self.store.retry(&[id]).await.unwrap();
                self.model.retry(id);
            }
            Step::Cancel(n) => {
                let id = JobId(i64::try_from(n).unwrap() + 1);
                self.store.cancel(&[id]).await.unwrap();
                self.model.cancel(id);
            }
            Step::RetryAllFailed => {
                for job in self.store.retry_all_failed().await.unwrap() {
                    prop_assert_eq!(self.model.row(job.id).state, State::Failed);
                    self.model.retry(job.id);
                }
            }
            Step::Pause(seconds) => {
                let until = seconds.map(|seconds| self.model.now + seconds * 1000);
                let stamp = until.map(|ms| Timestamp::from_millisecond(ms).unwrap());
                self.store.pause(stamp).await.unwrap();
                self.model.pause(until);
            }
            Step::Resume => {
                let was = self.model.paused().is_some();
                prop_assert_eq!(self.store.resume().await.unwrap(), was);
                self.model.pause = None;
            }
            Step::Crash(found) => self.crash(found).await?,
            Step::Jump(seconds) => {
                self.clock.shift(seconds * 1000);
                self.model.now = self.clock.now_ms();
            }
            ref of_a_claim => self.work(of_a_claim).await?,
        }
        Ok(())
    }

    async fn admit(&mut self, at: usize, content: u8, touched: bool, priority: i32) {
        self.stamp += i64::from(touched);
        let (folder, source, output) = PATHS[at];
        let mut new = photo(source, content);
        new.folder = folder.to_owned();
        new.output = PathBuf::from(output);
        new.identity = identity(u64::from(content) * 10 + at as u64);
        new.identity.mtime_ns += self.stamp;
        new.priority = priority;
        let admission = self.store.admit(&new).await.unwrap();
        let expected = self.model.admit(at, content, new.identity, priority);
        assert_eq!(admission.id(), expected, "{admission:?}");
    }

    /// As the queue decides it: by the clock on the wall, which may have been put to any time.
    fn outside_hours(&self) -> Vec<String> {
        let now = self.clock.wall().to_zoned_datetime(jiff::tz::TimeZone::UTC);
        let schedules = FOLDERS.iter().zip(["22:00-07:00", "sat-mon 10:00-01:00, wed"]);
        let closed = schedules.filter(|(_, hours)| !Schedule::parse(hours).unwrap().is_open(&now));
        closed.map(|(folder, _)| (*folder).to_owned()).collect()
    }

    async fn claim(&mut self, excluded: Vec<String>) -> Result<(), TestCaseError> {
        let claim = self.store.claim(&self.owner(), LEASE, &excluded).await.unwrap();
        let expected = self.model.claim(&self.owner(), &excluded);
        prop_assert_eq!(claim.as_ref().map(|claim| claim.job().id), expected);
        self.held.extend(claim);
        Ok(())
    }

    /// One thing that a worker does with a claim.
    async fn work(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let (&Step::Publish(n)
        | &Step::Done(n, _)
        | &Step::DoneTooEarly(n)
        | &Step::Fault(n, _)
        | &Step::Skip(n)
        | &Step::Withdraw(n)
        | &Step::StopOnRequest(n)
        | &Step::Release(n)
        | &Step::LoseDevice(n)) = step
        else {
            unreachable!("{step:?} is not of a claim");
        };
        let Some(claim) = self.take(n) else { return Ok(()) };
        let id = claim.job().id;
        let (ended, end) = match *step {
            Step::Publish(_) => {
                self.publish(&claim).await;
                self.held.push(claim);
                return Ok(());
            }
            Step::Done(_, over) => return self.done(claim, over).await,
            Step::DoneTooEarly(_) => return self.done_too_early(claim).await,
            Step::Skip(_) => {
                let reason = Reason::new(ReasonCode::Io, "taken");
                (self.store.record_skipped(claim, reason).await, End::Skipped)
            }
            Step::Withdraw(_) => {
                let (reason, claimed) = (Reason::new(ReasonCode::Io, "gone"), claim.job().identity);
                (
                    self.store.record_withdrawn(claim, reason).await,
                    End::Withdrawn(claimed),
                )
            }
            Step::StopOnRequest(_) => (self.store.record_cancelled(claim).await, End::Cancelled),
            Step::Fault(_, kind) => {
                let quarantine = |code| (Fault::quarantine(code, "broken"), End::Failed(code));
                let (fault, end) = match kind {
                    0 => quarantine(ReasonCode::Unreadable),
                    1 => quarantine(ReasonCode::Io),
                    2 => (Fault::block(ReasonCode::Io, "disk full"), End::Released),
                    _ => (passing(), End::Passing),
                };
                let ended = self.store.record_fault(claim, &fault, None).await;
                (ended.map(|(job, _)| job), end)
            }
            Step::LoseDevice(_) => {
                let reason = Reason::new(ReasonCode::Model, "illegal address");
                let ended = self.store.record_device_lost(claim, reason, None).await;
                (ended.map(|(job, _)| job), End::DeviceLost)
            }
            _ => (self.store.release(claim).await, End::Released),
        };
        self.model.end(id, end);
        prop_assert_eq!(ended.unwrap().state, self.model.row(id).state);
        Ok(())
    }

    async fn publish(&mut self, claim: &Claim) {
        let (to, report) = (publishing("x"), RenderReport::default());
        self.store.record_publishing(claim, &to, &report).await.unwrap();
        self.model.row(claim.job().id).state = State::Publishing;
    }

    async fn done(&mut self, claim: Claim, over: bool) -> Result<(), TestCaseError> {
        self.publish(&claim).await;
        let id = claim.job().id;
        let job = self.store.get(id).await.unwrap().unwrap();
        let result = self.place(&job, over).await?;
        let (path, report) = (Path::new(&result), RenderReport::default());
        self.store.record_done(claim, path, &report).await.unwrap();
        self.model.done(id, &result);
        Ok(())
    }

    async fn done_too_early(&mut self, claim: Claim) -> Result<(), TestCaseError> {
        if self.model.row(claim.job().id).state == State::Publishing {
            return self.done(claim, false).await;
        }
        let report = RenderReport::default();
        let early = self.store.record_done(claim, Path::new("x"), &report).await;
        prop_assert!(
            matches!(early, Err(QueueError::LeaseLost { .. })),
            "done unpublished"
        );
        // The claim is gone with the mistake; the process can only die.
        self.crash(false).await
    }

    /// What publish does: the own result's place, the planned one if nothing lies there, or another.
    async fn place(&mut self, job: &Job, over: bool) -> Result<String, TestCaseError> {
        let own = self.store.own_result(job).await.unwrap();
        let own = own.map(|path| path.display().to_string());
        prop_assert_eq!(own.as_deref(), self.model.own_result(job.id));
        if let Some(own) = own {
            return Ok(own);
        }
        let taken = self
            .store
            .owner_of_result(&job.output_root, &job.output)
            .await
            .unwrap();
        let planned = job.output.display().to_string();
        Ok(if over || taken.is_none() {
            planned
        } else {
            format!("{}-{planned}", job.id)
        })
    }

    /// The process dies; the next one recovers.
    async fn crash(&mut self, found: bool) -> Result<(), TestCaseError> {
        self.process += 1;
        self.stale.append(&mut self.held);
        self.store.close().await;
        self.store = Store::open(self.dir.path(), self.clock.clone()).await.unwrap();
        for job in recover(&self.store, &self.owner()).await.unwrap() {
            self.model.end(job.id, End::Crashed);
        }
        for interrupted in self.store.interrupted_publishing(&self.owner()).await.unwrap() {
            let id = interrupted.job.id;
            if found {
                let result = self.place(&interrupted.job, true).await?;
                self.model.done(id, &result);
                let result = PathBuf::from(result);
                self.store
                    .resolve_interrupted(id, Resolution::Done { result })
                    .await
                    .unwrap();
            } else {
                self.model.end(id, End::Crashed);
                self.store
                    .resolve_interrupted(id, Resolution::Requeue)
                    .await
                    .unwrap();
            }
        }
        for claim in std::mem::take(&mut self.stale) {
            prop_assert_eq!(self.store.renew(&claim, LEASE).await.unwrap(), Renewal::Lost);
            let late = self.store.record_cancelled(claim).await;
            prop_assert!(
                matches!(late, Err(QueueError::LeaseLost { .. })),
                "ended by the dead"
            );
        }
        Ok(())
    }
}

impl Life {
    /// Compares the ledger with the model, and its rows with each other.
    async fn check(&mut self) -> Result<(), TestCaseError> {
        let mut jobs = self.store.list(&Filter::default()).await.unwrap();
        jobs.reverse();
        let left = self.model.jobs.iter().filter(|row| !row.removed);
        prop_assert_eq!(jobs.len(), left.clone().count());
        for (job, expected) in jobs.iter().zip(left) {
            let (folder, source, output) = PATHS[expected.at];
            prop_assert_eq!(
                (job.folder.as_str(), job.source.as_path()),
                (folder, Path::new(source))
            );
            prop_assert_eq!(job.output.as_path(), Path::new(output));
            let mut attempts = Vec::new();
            for attempt in self.store.attempts(job.id).await.unwrap() {
                attempts.push((
                    attempt.number,
                    attempt.outcome.unwrap_or_else(|| "open".to_owned()),
                ));
            }
            let history: Vec<_> = expected
                .history
                .iter()
                .map(|(n, word)| (*n, (*word).to_owned()))
                .collect();
            prop_assert_eq!(attempts, history, "job {}", job.id);
            let found = super::model::Row {
                history: expected.history.clone(),
                ..row(job, expected.at)
            };
            prop_assert_eq!(&found, expected, "job {}", job.id);
        }
        self.check_counts().await?;
        self.check_leases().await?;
        let pause = self.store.paused().await.unwrap();
        let ms = |at: Timestamp| at.as_millisecond();
        prop_assert_eq!(
            pause.map(|pause| (ms(pause.since), pause.until.map(ms))),
            self.model.paused()
        );
        let mut reader = self.store.reader().await.unwrap();
        for (what, query) in NEVER {
            let offenders: i64 = sqlx::query_scalar(query).fetch_one(&mut *reader).await.unwrap();
            prop_assert_eq!(offenders, 0, "{}", what);
        }
        Ok(())
    }

    async fn check_leases(&mut self) -> Result<(), TestCaseError> {
        for claim in &self.held {
            let row = self.model.row(claim.job().id);
            let stop = row.cancel && row.state == State::Running;
            let expected = if stop {
                Renewal::CancelRequested
            } else {
                Renewal::Held
            };
            prop_assert_eq!(self.store.renew(claim, LEASE).await.unwrap(), expected);
        }
        Ok(())
    }

    async fn check_counts(&mut self) -> Result<(), TestCaseError> {
        let counts = self.store.counts().await.unwrap();
        let mut expected = std::collections::BTreeMap::<String, crate::queue::Counts>::new();
        for row in self.model.jobs.iter().filter(|row| !row.removed) {
            let folder = PATHS[row.at].0.to_owned();
            *expected.entry(folder).or_default().of(row.state.shown()) += 1;
        }
        prop_assert_eq!(counts, expected);
        for (at, (folder, source, _)) in PATHS.into_iter().enumerate() {
            let known = self.store.known(folder, Path::new(source)).await.unwrap();
            let expected = self.model.sources.get(&at).copied();
            prop_assert_eq!(
                known.map(|known| (known.job, known.identity)),
                expected,
                "{}",
                source
            );
            if let Some(Known { job, state, .. }) = known {
                prop_assert_eq!(state, self.model.row(job).state.shown());
            }
        }
        let waiting = self.model.jobs.iter().filter(|row| row.state == State::Queued);
        let due = waiting.map(|row| row.not_before).min();
        prop_assert_eq!(
            self.store
                .next_due()
                .await
                .unwrap()
                .map(Timestamp::as_millisecond),
            due
        );
        Ok(())
    }
}

/// A job in the model's words; without its history.
fn row(job: &Job, at: usize) -> super::model::Row {
    super::model::Row {
        at,
        content: job.content[0],
        identity: job.identity,
        priority: job.priority,
        state: job.state,
        attempts: job.attempts,
        device_losses: job.device_losses,
        not_before: job.not_before.as_millisecond(),
        cancel: job.cancel_requested,
        withdrawn: job.withdrawn,
        reason: job.reason.as_ref().map(|reason| reason.code),
        result: job.result.as_ref().map(|path| path.display().to_string()),
        replaced_by: job.replaced_by,
        queued_at: job.queued_at.as_millisecond(),
        started_at: job.started_at.map(Timestamp::as_millisecond),
        history: Vec::new(),
        removed: false,
    }
}

async fn live(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut life = Life::begin().await;
    for step in steps {
        life.apply(step).await?;
        life.check().await?;
    }
    life.store.close().await;
    Ok(())
}

/// `UPSCALED_TEST_SEED`, or one that is new each time; printed, and shown when the test fails.
fn seed() -> u64 {
    let fresh = || u64::from(std::process::id()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let asked = std::env::var("UPSCALED_TEST_SEED");
    let seed = asked
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(fresh);
    println!("UPSCALED_TEST_SEED={seed}");
    seed
}

#[test]
fn the_ledger_agrees_with_its_model_after_every_step() {
    let config = ProptestConfig {
        cases: LIVES,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::from_seed(
        RngAlgorithm::ChaCha,
        blake3::hash(&seed().to_le_bytes()).as_bytes(),
    );
    let lives = prop::collection::vec(step(), STEPS / 2..STEPS);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ran = TestRunner::new_with_rng(config, rng).run(&lives, |steps| runtime.block_on(live(&steps)));
    ran.unwrap_or_else(|failure| panic!("{failure}"));
}
