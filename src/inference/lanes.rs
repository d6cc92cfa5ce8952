//! Owns several sessions of one model on one device, each on a thread of its own (I9): while one computes, the pixels
//! of another are on their way to the device or back. Never decides how many there are, nor what they run.
//!
//! Sessions, not runs of one: ONNX Runtime lets several threads run a session, but TensorRT's provider makes them wait
//! for each other, and a graph that CUDA has captured is one run's. Weights are held as often as there are lanes, which
//! for these models is little beside one tile's activations; all of it is in what is measured.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use super::{InferenceError, ModelCard, Place, Planes, Profile, Run, Runs, Upscaler, Windows};
use crate::progress::Terminator;
use crate::size::Size;

/// What a lane's thread does with its session.
type Job = Box<dyn FnOnce(&mut dyn Upscaler) + Send>;

/// Opens a lane's session, on the lane's thread.
pub type OpenLane = Arc<dyn Fn() -> Result<Box<dyn Upscaler>, InferenceError> + Send + Sync>;

/// Sessions beside each other, as one.
pub struct Lanes {
    lanes: Vec<Lane>,
    card: ModelCard,
    place: Place,
    profile: Profile,
    /// Buffers of results that were taken.
    spent: Vec<Vec<f32>>,
}

impl std::fmt::Debug for Lanes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lanes")
            .field("model", &self.card.name)
            .field("place", &self.place)
            .field("lanes", &self.lanes.len())
            .finish()
    }
}

impl Lanes {
    /// Opens up to `count` sessions, one after the other: what the first one builds, the others find. There is one at
    /// least; where the device has no room for more, there are fewer.
    ///
    /// # Errors
    /// Those of the first session.
    pub fn open(count: usize, open: &OpenLane) -> Result<Self, InferenceError> {
        let first = Lane::open(0, Arc::clone(open))?;
        let facts = |upscaler: &mut dyn Upscaler| {
            (
                upscaler.card().clone(),
                upscaler.place().clone(),
                upscaler.profile().clone(),
            )
        };
        let (card, place, profile) = first.answer(facts)?;
        let mut lanes = vec![first];
        for index in 1..count {
            match Lane::open(index, Arc::clone(open)) {
                Ok(lane) => lanes.push(lane),
                Err(error) => {
                    tracing::info!(model = %card.name, lanes = lanes.len(), "no further session beside: {error}");
                    break;
                }
            }
        }
        Ok(Self {
            lanes,
            card,
            place,
            profile,
            spent: Vec::new(),
        })
    }

    /// Has every lane do the same at the same time; the first failure counts.
    fn everywhere(
        &self,
        job: impl Fn(&mut dyn Upscaler) -> Result<(), InferenceError> + Clone + Send + 'static,
    ) -> Result<(), InferenceError> {
        let answers: Vec<_> = self.lanes.iter().map(|lane| lane.ask(job.clone())).collect();
        let answers = answers
            .into_iter()
            .map(|answer| answer.recv().unwrap_or(Err(gone())));
        answers.fold(Ok(()), Result::and)
    }

    fn begin(&mut self, lane: usize, run: Run) -> Receiver<Ended> {
        let mut results = self.spent.pop().unwrap_or_default();
        self.lanes[lane].ask(move |upscaler| {
            let mut size = Size::new(0, 0);
            let result = upscaler.upscale(run.tiles(), &mut |planes| {
                results.clear();
                results.extend_from_slice(planes.data);
                size = planes.size;
            });
            Ended {
                result,
                results,
                size,
                run,
            }
        })
    }
}

/// A run that came to its end.
struct Ended {
    result: Result<(), InferenceError>,
    results: Vec<f32>,
    size: Size,
    run: Run,
}

fn gone() -> InferenceError {
    InferenceError::Model("the thread of its session ended".to_owned())
}

impl Upscaler for Lanes {
    fn card(&self) -> &ModelCard {
        &self.card
    }

    fn place(&self) -> &Place {
        &self.place
    }

    fn profile(&self) -> &Profile {
        &self.profile
    }

    fn set_profile(&mut self, profile: Profile) {
        self.profile = profile;
    }

    fn lanes(&self) -> usize {
        self.lanes.len()
    }

    fn windows(&self) -> Windows {
        let windows = self.lanes[0].answer(|upscaler| upscaler.windows());
        windows.unwrap_or(Windows::Any)
    }

    fn left(&self) -> Option<String> {
        self.lanes[0].answer(|upscaler| upscaler.left()).ok()?
    }

    fn shrink(&mut self) -> Result<(), InferenceError> {
        self.everywhere(|upscaler| upscaler.shrink())
    }

    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError> {
        let share = device_bytes / self.lanes.len() as u64;
        self.everywhere(move |upscaler| upscaler.prepare(window, batch, share))
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        let run = Run {
            planes: tiles.data.to_vec(),
            window: tiles.size,
            count: tiles.count,
        };
        let ended = self.begin(0, run).recv().map_err(|_| gone())?;
        ended.result?;
        take(Planes::batch(&ended.results, ended.size, ended.run.count));
        self.spent.push(ended.results);
        Ok(())
    }

    /// In as many as there are lanes at once. A failure is told when all that had begun are at their end.
    fn upscale_all(&mut self, runs: &mut dyn Runs) -> Result<(), InferenceError> {
        let mut in_flight = VecDeque::with_capacity(self.lanes.len());
        let mut outcome = Ok(());
        let (mut lane, mut is_over) = (0, false);
        loop {
            while !is_over && in_flight.len() < self.lanes.len() {
                let Some(run) = runs.next() else {
                    is_over = true;
                    break;
                };
                in_flight.push_back(self.begin(lane, run));
                lane = (lane + 1) % self.lanes.len();
            }
            let Some(answer) = in_flight.pop_front() else {
                return outcome;
            };
            match answer.recv() {
                Ok(ended) => match ended.result {
                    Ok(()) if outcome.is_ok() => {
                        let results = Planes::batch(&ended.results, ended.size, ended.run.count);
                        runs.take(results);
                        runs.give_back(ended.run.planes);
                        self.spent.push(ended.results);
                    }
                    Ok(()) => {}
                    Err(error) => outcome = outcome.and(Err(error)),
                },
                Err(_) => outcome = outcome.and(Err(gone())),
            }
            is_over |= outcome.is_err();
        }
    }

    /// The next provider gets one session: the processor has nothing to copy.
    fn fall_back(&mut self, device_bytes: u64) -> Result<bool, InferenceError> {
        self.lanes.truncate(1);
        let (found, place, profile) = self.lanes[0].answer(move |upscaler| {
            let found = upscaler.fall_back(device_bytes);
            (found, upscaler.place().clone(), upscaler.profile().clone())
        })?;
        if found.as_ref().is_ok_and(|found| *found) {
            (self.place, self.profile) = (place, profile);
        }
        found
    }

    fn terminator(&mut self) -> Option<Terminator> {
        let each = self
            .lanes
            .iter()
            .map(|lane| lane.answer(|upscaler| upscaler.terminator()).ok()?);
        let each: Vec<Terminator> = each.collect::<Option<_>>()?;
        Some(Arc::new(move || each.iter().for_each(|terminate| terminate())))
    }

    /// As if every lane held what the one holds that holds most: sooner or later each of them does.
    fn device_peak_bytes(&self) -> Option<u64> {
        let each = self
            .lanes
            .iter()
            .map(|lane| lane.answer(|upscaler| upscaler.device_peak_bytes()).ok()?);
        let most = each.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
        Some(most * self.lanes.len() as u64)
    }
}

/// One session and its thread.
struct Lane {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Lane {
    fn open(index: usize, open: OpenLane) -> Result<Self, InferenceError> {
        let (jobs, inbox) = channel::<Job>();
        let (opened, answer) = channel();
        let thread = std::thread::Builder::new()
            .name(format!("lane-{index}"))
            .spawn(move || {
                let mut upscaler = match open() {
                    Ok(upscaler) => upscaler,
                    Err(error) => return drop(opened.send(Err(error))),
                };
                if opened.send(Ok(())).is_err() {
                    return;
                }
                while let Ok(job) = inbox.recv() {
                    job(upscaler.as_mut());
                }
            });
        let thread = thread.map_err(|error| {
            InferenceError::Model(format!(
                "the system grants no thread: {}",
                crate::error::plain(&error)
            ))
        })?;
        let lane = Self {
            jobs: Some(jobs),
            thread: Some(thread),
        };
        answer.recv().unwrap_or(Err(gone()))?;
        Ok(lane)
    }

    /// Has it done on the lane's thread, after what it was asked before.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Upscaler) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (send, answer) = channel();
        if let Some(jobs) = &self.jobs {
            // A thread that is gone drops the job, which is how whoever waits learns of it.
            let _ = jobs.send(Box::new(move |upscaler| drop(send.send(job(upscaler)))));
        }
        answer
    }

    fn answer<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn Upscaler) -> T + Send + 'static,
    ) -> Result<T, InferenceError> {
        self.ask(job).recv().map_err(|_| gone())
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
