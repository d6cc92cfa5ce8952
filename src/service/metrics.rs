//! Owns what is counted since the start, and how numbers are spelled for Prometheus. Names are part of the product: one
//! that changes breaks somebody's alarm. Never asks the ledger and never answers anybody itself.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::report::{JobState, RenderReport};
use crate::status::{FolderReport, ServiceSnapshot, ServiceState};

/// Upper ends of the classes of a duration, seconds: from a small picture on a GPU to a large one on an old processor.
const CLASSES_S: [f64; 12] = [
    0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0,
];

/// Where an attempt's time goes.
const STAGES: [&str; 4] = ["total", "decode", "inference", "encode"];

/// What the overview saw last.
#[derive(Debug, Clone)]
pub struct Seen {
    /// What is told everywhere else, too.
    pub snapshot: ServiceSnapshot,
    /// When the job that has waited longest was queued.
    pub oldest_queued_at: Option<Timestamp>,
}

/// Numbers of the moment of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Now.
    pub at: Timestamp,
    /// How long nothing has moved.
    pub stalled: Duration,
    /// News that were dropped.
    pub news_dropped: u64,
}

/// Counted since the start.
#[derive(Debug, Default)]
pub struct Metrics(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    ended: BTreeMap<(String, JobState), u64>,
    retried: u64,
    oom_retries: u64,
    source_pixels: u64,
    result_pixels: u64,
    result_bytes: u64,
    stages: [Durations; STAGES.len()],
    tile: Option<[u32; 2]>,
    device_peak_bytes: Option<u64>,
    host_peak_bytes: Option<u64>,
}

#[derive(Debug, Default)]
struct Durations {
    classes: [u64; CLASSES_S.len()],
    count: u64,
    sum_s: f64,
}

impl Durations {
    fn add(&mut self, seconds: f64) {
        for (end, n) in CLASSES_S.iter().zip(&mut self.classes) {
            *n += u64::from(seconds <= *end);
        }
        self.count += 1;
        self.sum_s += seconds;
    }
}

impl Metrics {
    /// A job reached a final state.
    pub fn ended(&self, folder: &str, state: JobState) {
        *self.lock().ended.entry((folder.to_owned(), state)).or_default() += 1;
    }

    /// An attempt failed, and another one will follow.
    pub fn retried(&self) {
        self.lock().retried += 1;
    }

    /// An attempt was rendered, to its end or not.
    pub fn rendered(&self, report: &RenderReport) {
        let mut counted = self.lock();
        counted.oom_retries += u64::from(report.oom_retries);
        if let Some(plan) = &report.plan {
            counted.tile = Some(plan.tile);
        }
        counted.device_peak_bytes = report.device_peak_bytes.or(counted.device_peak_bytes);
        counted.host_peak_bytes = report.host_peak_bytes.or(counted.host_peak_bytes);
        let Some(output) = &report.output else { return };
        let pixels = |width: u32, height: u32| u64::from(width) * u64::from(height);
        counted.result_pixels += pixels(output.width, output.height) * output.pictures;
        counted.result_bytes += output.bytes;
        if let Some(input) = &report.input {
            counted.source_pixels += pixels(input.width, input.height) * input.pictures;
        }
        if let Some(seconds) = report.seconds {
            let parts = [seconds.total, seconds.decode, seconds.inference, seconds.encode];
            for (stage, seconds) in counted.stages.iter_mut().zip(parts) {
                stage.add(seconds);
            }
        }
    }

    /// Everything, in Prometheus' text format. `seen` is `None` until the service has begun.
    pub fn text(&self, seen: Option<&Seen>, moment: Moment) -> String {
        let mut page = Page::default();
        page.gauge("build_info", "Always 1; the version is its label.");
        page.sample("", &[("version", env!("CARGO_PKG_VERSION"))], 1);
        page.gauge(
            "last_progress_seconds",
            "Seconds since the loop or the job in work moved.",
        );
        page.sample("", &[], moment.stalled.as_secs_f64());
        page.counter(
            "news_dropped_total",
            "News for hooks and webhooks that were dropped.",
        );
        page.sample("", &[], moment.news_dropped);
        self.lock().write(&mut page);
        if let Some(seen) = seen {
            write_seen(&mut page, seen, moment.at);
        }
        page.0
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn write(&self, page: &mut Page) {
        page.counter("jobs_ended_total", "Jobs that reached a final state, by outcome.");
        for ((folder, state), n) in &self.ended {
            page.sample("", &[("folder", folder), ("outcome", state.as_str())], n);
        }
        for (name, help, n) in [
            (
                "job_retries_total",
                "Attempts that failed and are followed by another.",
                self.retried,
            ),
            (
                "oom_retries_total",
                "Steps down to smaller tiles because memory ran out.",
                self.oom_retries,
            ),
            (
                "source_pixels_total",
                "Pixels of upscaled sources.",
                self.source_pixels,
            ),
            ("result_pixels_total", "Pixels of results.", self.result_pixels),
            ("result_bytes_total", "Bytes of results.", self.result_bytes),
        ] {
            page.counter(name, help);
            page.sample("", &[], n);
        }
        page.family(
            "stage_seconds",
            "histogram",
            "Seconds of an upscale; the stages overlap.",
        );
        for (stage, durations) in STAGES.iter().zip(&self.stages) {
            for (end, n) in CLASSES_S.iter().zip(durations.classes) {
                page.sample("_bucket", &[("stage", stage), ("le", &end.to_string())], n);
            }
            page.sample("_bucket", &[("stage", stage), ("le", "+Inf")], durations.count);
            page.sample("_sum", &[("stage", stage)], durations.sum_s);
            page.sample("_count", &[("stage", stage)], durations.count);
        }
        if let Some([width, height]) = self.tile {
            page.gauge("tile_pixels", "Sides of the tiles of the last upscale.");
            page.sample("", &[("side", "width")], width);
            page.sample("", &[("side", "height")], height);
        }
        for (name, help, bytes) in [
            (
                "device_memory_peak_bytes",
                "Most that the last upscale held on the device.",
                self.device_peak_bytes,
            ),
            (
                "host_memory_peak_bytes",
                "Most that the last upscale held on the host.",
                self.host_peak_bytes,
            ),
        ] {
            page.optional(name, help, bytes);
        }
    }
}

fn write_seen(page: &mut Page, seen: &Seen, now: Timestamp) {
    let Seen {
        snapshot,
        oldest_queued_at,
    } = seen;
    page.gauge("start_time_seconds", "When the service started, Unix time.");
    page.sample("", &[], seconds(snapshot.started_at));
    page.gauge("service_state", "1 for the state that the service is in.");
    for state in ServiceState::ALL {
        page.sample(
            "",
            &[("state", state.as_str())],
            u8::from(state == snapshot.service),
        );
    }
    page.gauge("paused", "1 while somebody has paused the queue.");
    let is_paused = snapshot
        .folders
        .iter()
        .any(|folder| folder.document.paused.is_some());
    page.sample("", &[], u8::from(is_paused));
    page.gauge("queue_depth", "Jobs that wait.");
    page.sample(
        "",
        &[],
        snapshot
            .folders
            .iter()
            .map(|folder| folder.document.counts.queued)
            .sum::<u64>(),
    );
    page.gauge(
        "queue_oldest_age_seconds",
        "How long the oldest of them waits; 0 where none does.",
    );
    let age = oldest_queued_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    page.sample("", &[], age);
    let progress = snapshot
        .folders
        .iter()
        .flat_map(|folder| &folder.document.current)
        .next();
    page.gauge(
        "job_progress_ratio",
        "How far the job in work is; 0 where there is none.",
    );
    page.sample("", &[], progress.map_or(0.0, |current| current.progress));
    write_folders(page, &snapshot.folders);
    write_devices(page, snapshot);
    let memory = &snapshot.memory;
    for (name, help, bytes) in [
        (
            "device_memory_budget_bytes",
            "Most that inference may hold on the device.",
            memory.device_budget_bytes,
        ),
        (
            "host_memory_budget_bytes",
            "Most that pictures in work may hold on the host.",
            memory.host_budget_bytes,
        ),
        (
            "resident_memory_bytes",
            "Memory of the process.",
            memory.resident_bytes,
        ),
    ] {
        page.optional(name, help, bytes);
    }
}

fn write_devices(page: &mut Page, snapshot: &ServiceSnapshot) {
    let one = std::slice::from_ref(&snapshot.device);
    let several = &snapshot.devices[..];
    let used = if several.is_empty() { one } else { several };
    let mut used = used.iter().filter_map(|device| {
        let (name, provider) = (device.device.as_deref()?, device.provider.as_deref()?);
        let model = device.model.as_deref().unwrap_or("");
        device
            .out_of_use
            .is_none()
            .then_some([("device", name), ("provider", provider), ("model", model)])
    });
    if let Some(first) = used.next() {
        page.gauge("device_info", "Always 1; the labels say what inference runs on.");
        page.sample("", &first, 1);
        for labels in used {
            page.sample("", &labels, 1);
        }
    }
    if several.is_empty() {
        return;
    }
    page.gauge(
        "device_out_of_use",
        "1 for a number of device_id that is not used any more; told where there are several.",
    );
    for device in several {
        let number = device.device_id.unwrap_or_default().to_string();
        page.sample("", &[("number", &number)], u8::from(device.out_of_use.is_some()));
    }
}

fn write_folders(page: &mut Page, folders: &[FolderReport]) {
    page.gauge("jobs", "Files of each folder by state.");
    for folder in folders {
        let document = &folder.document;
        let counts = &document.counts;
        for (state, n) in [
            ("settling", counts.settling),
            ("queued", counts.queued),
            ("running", counts.running),
            ("done", counts.done),
            ("failed", counts.failed),
            ("skipped", counts.skipped),
        ] {
            page.sample("", &[("folder", &document.folder), ("state", state)], n);
        }
    }
    page.gauge(
        "folder_blocked",
        "1 while a folder waits for something that it cannot mend.",
    );
    for FolderReport { document, .. } in folders {
        page.sample(
            "",
            &[("folder", &document.folder)],
            u8::from(document.blocked_reason.is_some()),
        );
    }
    let last_scan: fn(&FolderReport) -> Option<Timestamp> = |folder| folder.intake.last_scan_at;
    let last_event: fn(&FolderReport) -> Option<Timestamp> = |folder| folder.intake.last_event_at;
    for (name, help, at) in [
        (
            "folder_last_scan_timestamp_seconds",
            "When the last full scan ended, Unix time.",
            last_scan,
        ),
        (
            "folder_last_event_timestamp_seconds",
            "When the kernel told of a change last, Unix time.",
            last_event,
        ),
    ] {
        page.gauge(name, help);
        for folder in folders {
            if let Some(at) = at(folder) {
                page.sample("", &[("folder", &folder.document.folder)], seconds(at));
            }
        }
    }
}

fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

/// A page of samples. What stands before every name, and the family that is being written.
#[derive(Debug, Default)]
struct Page(String, &'static str);

impl Page {
    fn gauge(&mut self, name: &'static str, help: &str) {
        self.family(name, "gauge", help);
    }

    fn counter(&mut self, name: &'static str, help: &str) {
        self.family(name, "counter", help);
    }

    fn optional(&mut self, name: &'static str, help: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.gauge(name, help);
            self.sample("", &[], value);
        }
    }

    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.1 = name;
        // Writing into a String cannot fail, here and below.
        let _ = writeln!(
            self.0,
            "# HELP upscaled_{name} {help}\n# TYPE upscaled_{name} {kind}"
        );
    }

    fn sample(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.0, "upscaled_{}{suffix}", self.1);
        for (index, (name, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', r"\\")
                .replace('"', "\\\"")
                .replace('\n', r"\n");
            let _ = write!(self.0, "{before}{name}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{after} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{InputFacts, OutputFacts, Seconds};

    fn moment() -> Moment {
        Moment {
            at: Timestamp::UNIX_EPOCH,
            stalled: Duration::from_millis(1500),
            news_dropped: 3,
        }
    }

    fn has(text: &str, line: &str) {
        assert!(
            text.lines().any(|found| found == line),
            "{line} is not in\n{text}"
        );
    }

    #[test]
    fn an_attempt_is_counted_with_its_pixels_and_stages() {
        let metrics = Metrics::default();
        let input = InputFacts {
            pictures: 1,
            width: 4,
            height: 3,
            format: "png".to_owned(),
            bit_depth: 8,
            channels: 3,
            icc: None,
            orientation: 1,
        };
        let output = OutputFacts {
            pictures: 1,
            width: 8,
            height: 6,
            format: "png".to_owned(),
            bytes: 100,
        };
        let report = RenderReport {
            input: Some(input),
            output: Some(output),
            oom_retries: 2,
            seconds: Some(Seconds {
                total: 0.3,
                decode: 0.1,
                inference: 0.2,
                encode: 4000.0,
            }),
            ..RenderReport::default()
        };
        metrics.rendered(&report);
        metrics.rendered(&RenderReport {
            oom_retries: 1,
            ..RenderReport::default()
        });
        metrics.ended("a \"b\"\\\nc", JobState::Done);
        let text = metrics.text(None, moment());
        for line in [
            "upscaled_source_pixels_total 12",
            "upscaled_result_pixels_total 48",
            "upscaled_result_bytes_total 100",
            "upscaled_oom_retries_total 3",
            "upscaled_last_progress_seconds 1.5",
            "upscaled_news_dropped_total 3",
            "upscaled_stage_seconds_bucket{stage=\"total\",le=\"0.25\"} 0",
            "upscaled_stage_seconds_bucket{stage=\"total\",le=\"0.5\"} 1",
            "upscaled_stage_seconds_bucket{stage=\"decode\",le=\"0.1\"} 1",
            "upscaled_stage_seconds_bucket{stage=\"encode\",le=\"3600\"} 0",
            "upscaled_stage_seconds_bucket{stage=\"encode\",le=\"+Inf\"} 1",
            "upscaled_stage_seconds_sum{stage=\"inference\"} 0.2",
            "upscaled_stage_seconds_count{stage=\"inference\"} 1",
            "upscaled_jobs_ended_total{folder=\"a \\\"b\\\"\\\\\\nc\",outcome=\"done\"} 1",
        ] {
            has(&text, line);
        }
    }

    /// A family twice, or a sample outside its family, makes Prometheus drop the whole answer.
    #[test]
    fn every_family_stands_once_and_has_help_and_type() {
        let text = Metrics::default().text(None, moment());
        let mut names: Vec<&str> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE "))
            .map(|rest| rest.split(' ').next().unwrap_or(""))
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(names.iter().any(|name| line.starts_with(name)), "{line}");
        }
    }
}
