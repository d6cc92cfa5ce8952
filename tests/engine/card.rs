//! A graphics card that exists only here: memory that other programs share, copies that take their time, and an end.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use upscaled::inference::lanes::OpenLane;
use upscaled::inference::{InferenceError, Lanes, ModelCard, Place, Planes, Profile, Upscaler};
use upscaled::size::Size;

use super::net::Net;

/// What a pixel of a window takes on the card.
const BYTES_PER_PIXEL: u64 = 100;

/// What each session takes besides.
const SESSION_BYTES: u64 = 1000;

/// Longer than any machine here takes to begin a second run.
const MEETING: Duration = Duration::from_secs(60);

/// The card.
#[derive(Debug, Default)]
pub struct Card {
    state: Mutex<State>,
    met: Condvar,
    memory_bytes: u64,
    /// During which runs another program holds how much.
    tenant: Option<(Range<usize>, u64)>,
    /// From which run on nothing works.
    lost_from: Option<usize>,
    /// How many runs must have begun before the first one ends.
    meeting: usize,
    /// How long a window of this many pixels is copied, both ways together, and computed.
    time: Option<(u64, Duration, Duration)>,
    copying: Mutex<()>,
    computing: Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    begun: usize,
    held_bytes: u64,
    most_bytes: u64,
    refused: usize,
}

impl Card {
    pub fn new(memory_bytes: u64) -> Self {
        Self {
            memory_bytes,
            ..Self::default()
        }
    }

    pub fn shared_with(self, runs: Range<usize>, bytes: u64) -> Self {
        Self {
            tenant: Some((runs, bytes)),
            ..self
        }
    }

    pub fn lost_from(self, run: usize) -> Self {
        Self {
            lost_from: Some(run),
            ..self
        }
    }

    pub fn where_runs_meet(self, count: usize) -> Self {
        Self {
            meeting: count,
            ..self
        }
    }

    #[allow(dead_code, reason = "the benchmark's")]
    pub fn taking(self, pixels: u64, copies: Duration, compute: Duration) -> Self {
        Self {
            time: Some((pixels, copies, compute)),
            ..self
        }
    }

    /// Most bytes that were held at once.
    pub fn most_bytes(&self) -> u64 {
        self.state().most_bytes
    }

    /// Runs that found no room.
    pub fn refused(&self) -> usize {
        self.state().refused
    }

    /// The net on this card, in so many lanes.
    pub fn run_in(self: &Arc<Self>, net: &Net, lanes: usize) -> Lanes {
        let (card, net) = (Arc::clone(self), net.clone());
        let open: OpenLane = Arc::new(move || {
            let mut net = net.clone();
            let mut profile = net.profile().clone();
            profile.memory.fixed_bytes = SESSION_BYTES * lanes as u64;
            profile.memory.bytes_per_pixel = (BYTES_PER_PIXEL * lanes as u64) as f64;
            net.set_profile(profile);
            let card = Arc::clone(&card);
            let cap_bytes = u64::MAX;
            Ok(Box::new(OnCard { net, card, cap_bytes }) as Box<dyn Upscaler>)
        });
        Lanes::open(lanes, &open).unwrap()
    }

    /// What other programs leave.
    pub fn free_bytes(&self) -> u64 {
        self.memory_bytes - self.others_bytes(self.state().begun)
    }

    fn others_bytes(&self, run: usize) -> u64 {
        let tenant = self.tenant.as_ref().filter(|(runs, _)| runs.contains(&run));
        tenant.map_or(0, |(_, bytes)| *bytes)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn hold(&self, bytes: u64, cap_bytes: u64) -> Result<(), InferenceError> {
        let mut state = self.state();
        let run = state.begun;
        state.begun += 1;
        self.met.notify_all();
        if self.lost_from.is_some_and(|from| run >= from) {
            return Err(InferenceError::DeviceLost("CUDA failure 700".to_owned()));
        }
        let others = self.others_bytes(run);
        if bytes > cap_bytes || state.held_bytes + others + bytes > self.memory_bytes {
            state.refused += 1;
            return Err(InferenceError::OutOfMemory(format!("no room for {bytes} bytes")));
        }
        state.held_bytes += bytes;
        state.most_bytes = state.most_bytes.max(state.held_bytes);
        let (state, waited) = self
            .met
            .wait_timeout_while(state, MEETING, |state| state.begun < self.meeting)
            .unwrap();
        drop(state);
        assert!(
            !waited.timed_out(),
            "no second run begins before the first has ended"
        );
        Ok(())
    }

    fn release(&self, bytes: u64) {
        self.state().held_bytes -= bytes;
    }

    /// Busy with one thing at a time, as copy engines and multiprocessors are.
    fn spend(&self, engine: &Mutex<()>, pixels: u64, of: impl Fn(Duration, Duration) -> Duration) {
        if let Some((unit, copies, compute)) = self.time {
            let _busy = engine.lock().unwrap();
            std::thread::sleep(of(copies, compute).mul_f64(pixels as f64 / unit as f64));
        }
    }
}

/// A session on the card.
struct OnCard {
    net: Net,
    card: Arc<Card>,
    cap_bytes: u64,
}

impl Upscaler for OnCard {
    fn card(&self) -> &ModelCard {
        self.net.card()
    }

    fn place(&self) -> &Place {
        self.net.place()
    }

    fn profile(&self) -> &Profile {
        self.net.profile()
    }

    fn set_profile(&mut self, profile: Profile) {
        self.net.set_profile(profile);
    }

    fn prepare(&mut self, window: Size, batch: u32, device_bytes: u64) -> Result<(), InferenceError> {
        self.cap_bytes = device_bytes;
        self.net.prepare(window, batch, device_bytes)
    }

    fn upscale(&mut self, tiles: Planes<'_>, take: &mut dyn FnMut(Planes<'_>)) -> Result<(), InferenceError> {
        let pixels = tiles.size.pixels() * tiles.count as u64;
        let bytes = SESSION_BYTES + pixels * BYTES_PER_PIXEL;
        let card = Arc::clone(&self.card);
        card.hold(bytes, self.cap_bytes)?;
        card.spend(&card.copying, pixels, |copies, _| copies / 2);
        card.spend(&card.computing, pixels, |_, compute| compute);
        let result = self.net.upscale(tiles, take);
        card.spend(&card.copying, pixels, |copies, _| copies / 2);
        card.release(bytes);
        result
    }

    fn fall_back(&mut self, device_bytes: u64) -> Result<bool, InferenceError> {
        self.net.fall_back(device_bytes)
    }

    fn device_peak_bytes(&self) -> Option<u64> {
        Some(self.card.most_bytes())
    }
}
