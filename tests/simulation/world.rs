//! A machine with a watched folder, the people around it, and everything that goes wrong there.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::mpsc as blocking;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::sleep;
use upscaled::clock::{Clock, Monotonic, SharedClock, SystemClock};
use upscaled::config::Config;
use upscaled::error::ReasonCode;
use upscaled::fs_fault::{Fault, FaultFs};
use upscaled::inference::InferenceError;
use upscaled::pipeline::PipelineError;
use upscaled::pipeline::executor::Order;
use upscaled::queue::{Filter, Job, State, Store};
use upscaled::service::{self, Ground, Wish};

use crate::dice::Dice;
use crate::support::ground::{Mischief, catalogue, inference_error, nearest_executors};
use crate::support::runtime_library;

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Stop,
    Crash,
    PowerCut,
}

/// systemd's `RestartSec=`.
const RESTART: Duration = Duration::from_secs(10);

/// What a process takes with it when it dies, real time: threads that work for it end by themselves.
const DYING: Duration = Duration::from_secs(10);

/// Real time of a simulated second: a day takes a quarter of a minute, a question to the ledger seems to take a second.
const SECOND: Duration = Duration::from_micros(100);

/// Names of pictures; few, so that they meet each other.
const NAMES: u64 = 60;

/// A simulated wall and monotonic clock that goes on from life to life. Made in the runtime whose time it follows.
#[derive(Debug)]
struct SimClock {
    clock: SharedClock,
    lived: Duration,
    /// By how much the wall clock was set wrong, milliseconds.
    jumped_ms: Arc<AtomicI64>,
}

impl Clock for SimClock {
    fn monotonic(&self) -> Monotonic {
        self.clock.monotonic() + self.lived
    }

    fn wall(&self) -> Timestamp {
        // An arbitrary Monday.
        const START_MS: i64 = 1_763_942_400_000;
        let elapsed = self.monotonic().since(Monotonic::from_start(Duration::ZERO));
        let ms = START_MS + elapsed.as_millis() as i64 + self.jumped_ms.load(Ordering::Relaxed);
        Timestamp::from_millisecond(ms).unwrap()
    }
}

/// A nap that an executor's thread takes in simulated time: how long, and what wakes it.
type Nap = (Duration, blocking::Sender<()>);

pub struct World {
    dir: tempfile::TempDir,
    pub dice: Dice,
    elapsed: Duration,
    jumped_ms: Arc<AtomicI64>,
    drops: u64,
    is_peaceful: bool,
    lives: u32,
}

impl World {
    pub fn new() -> Self {
        // Shown where the test fails; an invented clock has no place in it.
        let _ = tracing_subscriber::fmt()
            .with_test_writer()
            .with_ansi(false)
            .without_time()
            .try_init();
        // What is lost is the double's to decide: waiting for a real disk would only take real time.
        let memory = Path::new("/dev/shm");
        let dir = match tempfile::tempdir_in(memory) {
            Ok(dir) => dir,
            Err(_) => tempfile::tempdir().unwrap(),
        };
        for name in ["in", "out"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let text = format!(
            "state_dir = \"state\"\nmin_free = \"1MiB\"\njob_timeout = \"10min\"\n\n[runtime]\n\
             providers = [\"cpu\"]\nlibrary = {:?}\n\n[[folder]]\nname = \"photos\"\ninput = \"in\"\n\
             output = \"out\"\nmodel = \"span-x2\"\n",
            runtime_library()
        );
        std::fs::write(dir.path().join("upscaled.toml"), text).unwrap();
        Self {
            dir,
            dice: Dice::new(),
            elapsed: Duration::ZERO,
            jumped_ms: Arc::default(),
            drops: 0,
            is_peaceful: false,
            lives: 0,
        }
    }

    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// From now on nothing goes wrong.
    pub fn make_peace(&mut self) {
        self.is_peaceful = true;
        self.jumped_ms.store(0, Ordering::Relaxed);
        self.bring_folders_back();
    }

    fn bring_folders_back(&self) {
        for name in ["in", "out"] {
            if self.is_away(name) {
                self.bring_back(name);
            }
        }
    }

    /// One life of the daemon, and what happens around it meanwhile.
    pub fn live(&mut self, length: Duration, fate: Fate) {
        self.lives += 1;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let fs = Arc::new(FaultFs::new(Fault::Never));
        let (lived, outcome) = runtime.block_on(self.life(length, fate, &fs));
        runtime.shutdown_timeout(DYING);
        if outcome == Fate::PowerCut {
            // Its paths are those of folders that are there.
            self.bring_folders_back();
            fs.cut_power().unwrap();
        }
        self.elapsed += lived + RESTART;
        println!("{outcome:?} after {} s of life {}", lived.as_secs(), self.lives);
    }

    async fn life(&mut self, length: Duration, fate: Fate, fs: &Arc<FaultFs>) -> (Duration, Fate) {
        let clock: SharedClock = Arc::new(SimClock {
            clock: SystemClock::shared(),
            lived: self.elapsed,
            jumped_ms: Arc::clone(&self.jumped_ms),
        });
        let born = clock.monotonic();
        let config_path = self.path("upscaled.toml");
        let config = Config::load(&config_path).unwrap();
        let (wish, wishes) = mpsc::channel(4);
        let (naps, mut nappers) = mpsc::unbounded_channel::<Nap>();
        let (death, mut deaths) = mpsc::unbounded_channel::<()>();
        let ground = Ground {
            clock: clock.clone(),
            fs: fs.clone(),
            make_executor: nearest_executors(mischief(self.dice.split(), self.is_peaceful, naps, death)),
        };
        let catalogue = catalogue(&config, fs.clone());
        let serving = service::serve(ground, wishes, config, config_path, catalogue);
        let wakes = async {
            // Here and in no task of their own: those outlive this life by a moment, and an executor's thread that
            // is waited for would wait for them.
            let mut asleep: Vec<(Monotonic, blocking::Sender<()>)> = Vec::new();
            loop {
                while let Ok((nap, wake)) = nappers.try_recv() {
                    asleep.push((clock.monotonic() + nap, wake));
                }
                let now = clock.monotonic();
                for (_, wake) in asleep.extract_if(.., |(end, _)| *end <= now) {
                    let _ = wake.send(());
                }
                a_second().await;
            }
        };
        let around = self.around(length, fs, &clock, &wish);
        let ended = async {
            around.await;
            if fate == Fate::Stop {
                wish.send(Wish::Stop).await.unwrap();
                std::future::pending::<()>().await;
            }
        };
        let outcome = tokio::select! {
            // A service that ends by itself is started again, as one that was asked to.
            ended = serving => { if let Err(error) = ended { println!("a life ends: {error}"); } Fate::Stop }
            () = ended => fate,
            Some(()) = deaths.recv() => Fate::Crash,
            () = wakes => unreachable!("it never ends"),
        };
        (clock.monotonic().since(born), outcome)
    }

    /// What people and machines do for so long.
    async fn around(
        &mut self,
        length: Duration,
        fs: &FaultFs,
        clock: &SharedClock,
        wish: &mpsc::Sender<Wish>,
    ) {
        let end = clock.monotonic() + length;
        while clock.monotonic() < end {
            let nap = Duration::from_secs(self.dice.between(5, 600));
            sleep(nap.min(end.since(clock.monotonic()))).await;
            if !self.is_peaceful {
                self.something_happens(fs, clock, wish).await;
            }
        }
    }

    async fn something_happens(&mut self, fs: &FaultFs, clock: &SharedClock, wish: &mpsc::Sender<Wish>) {
        let draw = self.dice.below(100);
        match draw {
            0..50 => self.drop_picture(),
            50..54 => self.rename_picture(),
            54..58 => self.with_some_picture(|path| std::fs::remove_file(path)),
            58..62 => self.with_some_picture(|path| {
                let bytes = std::fs::read(path)?;
                std::fs::write(path, bytes)
            }),
            62..66 => fs.set(Fault::Drawn {
                seed: self.dice.next(),
                one_in: 5,
            }),
            66..76 => fs.set(Fault::Never),
            76..78 => fs.set_free_bytes(Some(0)),
            78..82 => fs.set_free_bytes(None),
            82 if !self.is_away("in") => self.take_away("in"),
            83..86 if self.is_away("in") => self.bring_back("in"),
            86 if !self.is_away("out") => self.take_away("out"),
            87 if self.is_away("out") => self.bring_back("out"),
            82..88 => {}
            88..90 => self.jumped_ms.store(
                self.dice.between(0, 7_200_000) as i64 - 3_600_000,
                Ordering::Relaxed,
            ),
            90..92 => drop(wish.try_send(Wish::Rescan)),
            92..94 => drop(wish.try_send(Wish::Reload)),
            _ => self.steer(clock, draw).await,
        }
    }

    /// As `upscaled jobs` and `upscaled pause` do, beside the running service.
    async fn steer(&mut self, clock: &SharedClock, draw: u64) {
        let store = Store::open(&self.path("state"), clock.clone()).await.unwrap();
        match draw {
            94 => {
                let until = clock.wall() + Duration::from_secs(self.dice.between(60, 3600));
                store.pause(Some(until)).await.unwrap();
            }
            95 => drop(store.resume().await.unwrap()),
            96 => drop(store.retry_all_failed().await.unwrap()),
            _ => {
                let jobs = store.list(&Filter::default()).await.unwrap();
                if let Some(job) = jobs.get(self.dice.below(jobs.len().max(1) as u64) as usize) {
                    store.cancel(&[job.id]).await.unwrap();
                }
            }
        }
        store.close().await;
    }

    /// A picture whose content nobody has seen, under a name that somebody may have used.
    fn drop_picture(&mut self) {
        self.drops += 1;
        let number = self.dice.below(NAMES);
        let kind = match number {
            0..2 => "fails",
            2..4 => "kills",
            _ => "a",
        };
        let path = self.path(format!("in/{}/{kind}{number}.png", number % 5));
        // The folder may be away.
        if !self.path("in").exists() || std::fs::create_dir_all(path.parent().unwrap()).is_err() {
            return;
        }
        let mut picture =
            image::RgbImage::new(4 + self.dice.below(20) as u32, 4 + self.dice.below(20) as u32);
        picture.put_pixel(
            0,
            0,
            image::Rgb([self.drops, self.drops >> 8, self.drops >> 16].map(|v| v as u8)),
        );
        let mut bytes = Vec::new();
        picture
            .write_to(&mut std::io::Cursor::new(&mut bytes), image::ImageFormat::Png)
            .unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    fn with_some_picture(&mut self, act: impl FnOnce(&Path) -> std::io::Result<()>) {
        let pictures = files(&self.path("in"));
        if let Some(path) = pictures.get(self.dice.below(pictures.len().max(1) as u64) as usize) {
            act(path).unwrap();
        }
    }

    fn rename_picture(&mut self) {
        let name = format!("in/{}/a{}.png", self.dice.below(5), self.dice.between(4, NAMES));
        let to = self.path(name);
        if to.parent().is_some_and(Path::exists) {
            self.with_some_picture(|path| {
                move_file(path, &to);
                Ok(())
            });
        }
    }

    fn is_away(&self, name: &str) -> bool {
        self.path(format!("{name}.away")).exists()
    }

    /// A folder goes away. The output folder would be made anew by the service: something else is in its place.
    fn take_away(&self, name: &str) {
        move_file(&self.path(name), &self.path(format!("{name}.away")));
        if name == "out" {
            std::fs::write(self.path(name), "not a folder").unwrap();
        }
    }

    fn bring_back(&self, name: &str) {
        let _ = std::fs::remove_file(self.path(name));
        move_file(&self.path(format!("{name}.away")), &self.path(name));
    }

    /// What a person does at last: goes on, and has everything tried again that did not work or was called off.
    pub fn retry_everything(&self) {
        self.with_ledger(async |store| {
            store.resume().await.unwrap();
            let jobs = store.list(&Filter::default()).await.unwrap();
            let undone = jobs
                .iter()
                .filter(|job| matches!(job.state, State::Failed | State::Skipped) || is_called_off(job));
            let ids: Vec<_> = undone.map(|job| job.id).collect();
            store.retry(&ids).await.unwrap();
        });
    }

    fn with_ledger<T>(&self, ask: impl AsyncFnOnce(&Store) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let store = Store::open(&self.path("state"), SystemClock::shared())
                .await
                .unwrap();
            let answer = ask(&store).await;
            store.close().await;
            answer
        })
    }

    pub fn check(&self) {
        let (input, output) = (self.path("in"), self.path("out"));
        let sources = files(&input);
        let (jobs, current) = self.with_ledger(async |store| {
            let mut current = Vec::new();
            for path in &sources {
                let source = path.strip_prefix(&input).unwrap();
                let known = store.known("photos", source).await.unwrap();
                let known = known.unwrap_or_else(|| panic!("{} was never taken in", source.display()));
                current.push((path.clone(), store.get(known.job).await.unwrap().unwrap()));
            }
            (store.list(&Filter::default()).await.unwrap(), current)
        });
        println!(
            "{} lives, {} pictures dropped, {} jobs",
            self.lives,
            self.drops,
            jobs.len()
        );
        for job in &jobs {
            assert!(job.state.shown().is_final(), "{job:?} is left undone");
            assert!(job.attempts <= 3, "{job:?}");
            assert!(job.state == State::Done || job.reason.is_some(), "I10: {job:?}");
        }
        for (path, job) in &current {
            let name = path.file_name().unwrap().to_string_lossy();
            let expected = if name.starts_with("fails") {
                Some(ReasonCode::Model)
            } else if name.starts_with("kills") {
                Some(ReasonCode::CrashedService)
            } else {
                None
            };
            let code = job.reason.as_ref().map(|reason| reason.code);
            // The same content under another name is the job of the first.
            let same_name = job.source == path.strip_prefix(&input).unwrap();
            assert!(!same_name || code == expected, "{job:?}");
            if job.state == State::Done {
                let source = image::open(path).unwrap();
                let result = image::open(output.join(job.result.as_ref().unwrap())).unwrap();
                assert_eq!(
                    (result.width(), result.height()),
                    (2 * source.width(), 2 * source.height()),
                    "{job:?}"
                );
            }
        }
        for path in files(&output) {
            let relative = path.strip_prefix(&output).unwrap();
            let text = relative.to_string_lossy();
            assert!(!text.contains(".tmp"), "{text} is left");
            let is_ours =
                text.starts_with(".upscaled/jobs") || text.starts_with("failed/") || text == "status.json";
            assert!(
                is_ours || jobs.iter().any(|job| job.result.as_deref() == Some(relative)),
                "{text} is nobody's result"
            );
            assert!(!text.contains("_2x-"), "{text}: a result twice");
        }
        assert!(self.drops > 50, "a day without work: {} pictures", self.drops);
    }
}

/// By a person; what was called off because its content went away comes back with it.
fn is_called_off(job: &Job) -> bool {
    job.state == State::Cancelled && !job.withdrawn
}

/// Keeps paused time from leaping: it goes to the next timer whenever the runtime has nothing to do, also while SQLite
/// works on its own thread, and hours would go by before the ledger has answered. This way a second takes at least
/// [`SECOND`] of real time.
async fn a_second() {
    sleep(Duration::from_secs(1)).await;
    std::thread::sleep(SECOND);
}

/// What executors do to pictures: take their time, hang, lose the device, die.
fn mischief(
    dice: Dice,
    is_peaceful: bool,
    naps: mpsc::UnboundedSender<Nap>,
    death: mpsc::UnboundedSender<()>,
) -> Mischief {
    let dice = std::sync::Mutex::new(RefCell::new(dice));
    let nap = move |length: Duration| {
        let (wake, woken) = blocking::channel();
        // An error: the life is over.
        naps.send((length, wake)).map_err(drop)?;
        woken.recv().map_err(drop)
    };
    Arc::new(move |order: &Order| {
        let name = order
            .source
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let (length, draw) = {
            let dice = dice.lock().unwrap();
            let mut dice = dice.borrow_mut();
            (dice.between(1, 90), dice.below(100))
        };
        let over = |()| PipelineError::Cancelled;
        nap(Duration::from_secs(length)).map_err(over)?;
        let fails = |error| Err(inference_error(&order.source, error));
        if name.starts_with("kills") {
            let _ = death.send(());
            let _ = nap(Duration::from_secs(3600));
            return Err(PipelineError::Cancelled);
        }
        if name.starts_with("fails") {
            return fails(InferenceError::Model("it cannot be done".to_owned()));
        }
        match draw {
            _ if is_peaceful => Ok(()),
            0..3 => {
                while !order.cancel.is_cancelled() {
                    nap(Duration::from_secs(1)).map_err(over)?;
                }
                Err(PipelineError::Cancelled)
            }
            3..5 => fails(InferenceError::DeviceLost("it fell off its bus".to_owned())),
            5..7 => fails(InferenceError::NoProvider(Vec::new())),
            7..9 => fails(InferenceError::OutOfMemory("2 GiB".to_owned())),
            _ => Ok(()),
        }
    })
}

/// Every file below, sorted.
fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let Ok(entries) = std::fs::read_dir(dir) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

#[expect(clippy::disallowed_methods, reason = "people move files as they like")]
fn move_file(from: &Path, to: &Path) {
    std::fs::rename(from, to).unwrap();
}
