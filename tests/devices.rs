//! Protects what several devices are for: each works on a picture of its own at the same time, and one that is lost or
//! missing takes nobody else with it. The devices are doubles; the service around them is the real one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

mod support;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::mpsc;
use upscaled::clock::SystemClock;
use upscaled::config::Config;
use upscaled::fs::RealFilesystem;
use upscaled::inference::{InferenceError, SkippedProvider};
use upscaled::pipeline::PipelineError;
use upscaled::pipeline::executor::Order;
use upscaled::service::{self, Ground, ServiceError, Wish};

use support::ground::{Mischief, catalogue, inference_error, nearest_executors};
use support::{photo, runtime_library};

/// Everything here takes a second; a minute only where something hangs.
const LOOKS_MAX: u32 = 3000;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A watched folder before two devices.
struct Site {
    dir: tempfile::TempDir,
    wishes: Option<mpsc::Sender<Wish>>,
    service: Option<JoinHandle<Result<(), ServiceError>>>,
}

impl Site {
    /// `before`: what a device does before it lets a picture through, by its number.
    fn new(before: impl Fn(u32, &Order) -> Result<(), PipelineError> + Send + Sync + 'static) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let text = format!(
            "state_dir = \"state\"\nmin_free = \"1MiB\"\n\n[runtime]\nproviders = [\"cuda\", \"cpu\"]\n\
             device_id = [0, 1]\nlibrary = {:?}\n\n[[folder]]\nname = \"photos\"\ninput = \"in\"\n\
             output = \"out\"\nmodel = \"span-x2\"\nsettle = \"10ms\"\nrescan = \"100ms\"\n",
            runtime_library()
        );
        let path = dir.path().join("upscaled.toml");
        std::fs::write(&path, text).unwrap();
        let config = Config::load(&path).unwrap();
        let mischief: Mischief = Arc::new(move |order| before(device_id(), order));
        let (wish, wishes) = mpsc::channel(1);
        let service = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            let fs = RealFilesystem::shared();
            let ground = Ground {
                clock: SystemClock::shared(),
                fs: fs.clone(),
                make_executor: nearest_executors(mischief),
            };
            let catalogue = catalogue(&config, fs);
            runtime.block_on(service::serve(ground, wishes, config, path, catalogue))
        });
        Self {
            dir,
            wishes: Some(wish),
            service: Some(service),
        }
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Appears whole, each with a content of its own.
    fn drop_pictures(&self, count: u32) {
        for index in 0..count {
            let temporary = self.path(format!("{index}.png"));
            photo(24 + index, 16).save(&temporary).unwrap();
            std::fs::hard_link(temporary, self.path(format!("in/{index}.png"))).unwrap();
        }
    }

    fn results(&self) -> usize {
        let entries = std::fs::read_dir(self.path("out")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with("_2x.png")).count()
    }

    fn document(&self, name: &str) -> Option<Value> {
        serde_json::from_slice(&std::fs::read(self.path(name)).ok()?).ok()
    }

    fn wait_for<T>(&self, what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
        for _ in 0..LOOKS_MAX {
            if let Some(answer) = answer() {
                return answer;
            }
            sleep(LOOK_INTERVAL);
        }
        panic!("{what}: never; {:#?}", self.document("state/service.json"));
    }

    fn wait_for_results(&self, count: usize) {
        self.wait_for(&format!("{count} results"), || {
            (self.results() >= count).then_some(())
        });
    }

    /// What status tells of a device once that is so.
    fn wait_for_device(&self, number: usize, is_so: impl Fn(&Value) -> bool) -> Value {
        self.wait_for(&format!("word of device {number}"), || {
            let device = self.document("state/service.json")?["devices"]
                .get(number)?
                .clone();
            is_so(&device).then_some(device)
        })
    }

    fn ended(mut self) -> Result<(), ServiceError> {
        drop(self.wishes.take());
        self.service.take().unwrap().join().unwrap()
    }
}

/// The number of the device whose executor's thread this is.
fn device_id() -> u32 {
    let thread = std::thread::current();
    thread
        .name()
        .unwrap()
        .strip_prefix("executor-")
        .unwrap()
        .parse()
        .unwrap()
}

fn fails(order: &Order, error: InferenceError) -> Result<(), PipelineError> {
    Err(inference_error(&order.source, error))
}

#[test]
fn each_device_works_on_a_picture_of_its_own_at_the_same_time() {
    // Nobody comes through alone.
    let both = Barrier::new(2);
    let (hold, held) = (Arc::new(Barrier::new(3)), Arc::new(Barrier::new(3)));
    let site = Site::new({
        let (hold, held) = (Arc::clone(&hold), Arc::clone(&held));
        move |_, _| {
            both.wait();
            hold.wait();
            held.wait();
            Ok(())
        }
    });
    site.drop_pictures(2);
    hold.wait();
    let current = site.wait_for("two pictures in work", || {
        let status = site.document("out/status.json")?;
        let current = status["current"].as_array()?.clone();
        (current.len() == 2).then_some(current)
    });
    assert_ne!(current[0]["source"], current[1]["source"]);
    held.wait();
    site.wait_for_results(2);
    site.ended().unwrap();
}

#[test]
fn a_lost_device_takes_only_its_own_picture_out_of_the_way() {
    // Each has a picture before either goes on.
    let (both, is_first) = (Barrier::new(2), AtomicBool::new(true));
    let site = Site::new(move |device, order| {
        if device == 1 || is_first.swap(false, Ordering::Relaxed) {
            both.wait();
        }
        match device {
            1 => fails(order, InferenceError::DeviceLost("CUDA failure 700".to_owned())),
            _ => Ok(()),
        }
    });
    site.drop_pictures(6);
    site.wait_for_results(5);
    let device = site.wait_for_device(1, |device| device["out_of_use"].is_string());
    let why = device["out_of_use"].as_str().unwrap();
    assert!(why.contains("CUDA failure 700"), "{why}");
    assert_eq!(site.wait_for_device(0, |_| true).get("out_of_use"), None);
    let status = site.document("out/status.json").unwrap();
    assert_eq!(status["blocked_reason"], Value::Null);
    // It is given back, for later: the picture may be what the device died of.
    assert_eq!(status["counts"]["failed"], 0);
    site.ended().unwrap();
}

#[test]
fn the_last_device_that_is_lost_ends_the_service() {
    let site = Site::new(|_, order| fails(order, InferenceError::DeviceLost("CUDA failure 999".to_owned())));
    site.drop_pictures(3);
    let service = site.service.as_ref().unwrap();
    site.wait_for("the end", || service.is_finished().then_some(()));
    let ended = site.ended();
    assert!(matches!(ended, Err(ServiceError::DeviceLost(_))), "{ended:?}");
}

#[test]
fn a_device_that_is_not_there_leaves_the_work_to_the_other() {
    let (both, is_first) = (Barrier::new(2), AtomicBool::new(true));
    let site = Site::new(move |device, order| {
        if device == 1 || is_first.swap(false, Ordering::Relaxed) {
            both.wait();
        }
        match device {
            1 => fails(order, no_provider()),
            _ => Ok(()),
        }
    });
    site.drop_pictures(6);
    // That one, too, which the missing device had: at once, and by the other.
    site.wait_for_results(6);
    let device = site.wait_for_device(1, |device| device["out_of_use"].is_string());
    assert!(
        device["out_of_use"]
            .as_str()
            .unwrap()
            .contains("no NVIDIA driver"),
        "{device}"
    );
    let status = site.document("out/status.json").unwrap();
    assert_eq!(status["blocked_reason"], Value::Null);
    site.ended().unwrap();
}

#[test]
fn where_no_device_is_there_the_folder_waits_and_nothing_is_charged() {
    let site = Site::new(|_, order| fails(order, no_provider()));
    site.drop_pictures(3);
    let status = site.wait_for("a block", || {
        let status = site.document("out/status.json")?;
        status["blocked_reason"].is_string().then_some(status)
    });
    let why = status["blocked_reason"].as_str().unwrap();
    assert!(why.contains("no NVIDIA driver"), "{why}");
    assert_eq!(
        (&status["counts"]["queued"], &status["counts"]["failed"]),
        (&3.into(), &0.into())
    );
    site.ended().unwrap();
}

fn no_provider() -> InferenceError {
    InferenceError::NoProvider(vec![SkippedProvider {
        provider: upscaled::config::Provider::Cuda,
        reason: "there is no NVIDIA driver or device".to_owned(),
    }])
}
