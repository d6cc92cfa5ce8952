//! What a ledger costs after years: with a million finished jobs, how long the service takes until it is ready, and how
//! long a person waits for `jobs list` and `status`, with and without a service that runs.
//!
//! `cargo bench --bench ledger -- [quick] [ROWS [RUNS]]`; `quick` takes a tenth of the rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on fails, and its result is what it prints"
)]

mod support;

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use sqlx::{ConnectOptions as _, Connection as _};
use support::verdict::{Verdicts, Wanted};
use support::{Words, common, median};
use upscaled::clock::{SharedClock, SystemClock};
use upscaled::queue::Store;

const ROWS: usize = 1_000_000;

const READY_S: Wanted = Wanted::AtMost(2.0);
const ANSWER_MS: Wanted = Wanted::AtMost(100.0);

/// Longer than a start may take on any machine.
const PATIENCE: Duration = Duration::from_secs(120);

fn main() {
    let words = Words::read();
    let rows = words.numbers.first().copied();
    let rows = rows.unwrap_or(if words.is_quick { ROWS / 10 } else { ROWS });
    let runs = words.numbers.get(1).copied().unwrap_or(5).max(1);
    let place = Place::new();
    let filled = place.timed(|| place.fill(rows));
    let bytes = place.dir.path().join("state/state.db").metadata().unwrap().len();
    println!(
        "{rows} finished jobs, {} MiB, made in {:.1} s",
        bytes >> 20,
        filled.as_secs_f64()
    );

    let mut verdicts = Verdicts::default();
    place.answers("no service", runs, &mut verdicts);
    let ready: Vec<f64> = (0..runs).map(|_| place.start().1.as_secs_f64()).collect();
    verdicts.check("start to READY", median(ready), " s", READY_S);
    let (service, _) = place.start();
    place.answers("beside a service", runs, &mut verdicts);
    drop(service);
    verdicts.finish();
}

/// A configuration with one folder, and its state.
struct Place {
    dir: tempfile::TempDir,
    clock: SharedClock,
}

/// A service that is ready; ended with its value.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for name in ["in", "out"] {
            std::fs::create_dir(dir.path().join(name)).expect("a directory");
        }
        let text = "state_dir = \"state\"\nmin_free = \"1MiB\"\n[runtime]\nproviders = [\"cpu\"]\n\
                    [[folder]]\nname = \"photos\"\ninput = \"in\"\noutput = \"out\"\n";
        std::fs::write(dir.path().join("upscaled.toml"), text).expect("the configuration is written");
        Self {
            dir,
            clock: SystemClock::shared(),
        }
    }

    fn timed<T>(&self, work: impl FnOnce() -> T) -> Duration {
        let started = self.clock.monotonic();
        work();
        self.clock.monotonic().since(started)
    }

    /// Around the store, which knows no way to make a job that nobody worked on.
    fn fill(&self, rows: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.expect("a runtime").block_on(async {
            let state_dir = self.dir.path().join("state");
            let store = Store::open(&state_dir, self.clock.clone())
                .await
                .expect("a ledger");
            let path: PathBuf = store.path().to_owned();
            store.close().await;
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
            let mut raw = options.connect().await.expect("a connection");
            sqlx::raw_sql(sqlx::AssertSqlSafe(history_sql(
                rows,
                &self.dir.path().join("out"),
            )))
            .execute(&mut raw)
            .await
            .expect("a long history");
            raw.close().await.expect("closed");
        });
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_upscaled"));
        command
            .args(args)
            .current_dir(self.dir.path())
            .env("ORT_DYLIB_PATH", common::runtime_library())
            .env("XDG_DATA_HOME", self.dir.path())
            .env_remove("UPSCALED_CONFIG")
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        command
    }

    /// Starts the service as systemd would, and waits until it says that it is ready.
    fn start(&self) -> (Service, Duration) {
        let path = self.dir.path().join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(PATIENCE)).expect("a patient socket");
        let started = self.clock.monotonic();
        let child = self.command(&["run"]).env("NOTIFY_SOCKET", &path).spawn();
        let service = Service(child.expect("the binary runs"));
        let mut message = [0; 4096];
        loop {
            let length = socket
                .recv(&mut message)
                .expect("the service tells that it is ready");
            if message[..length].starts_with(b"READY=1") {
                return (service, self.clock.monotonic().since(started));
            }
        }
    }

    fn answers(&self, when: &str, runs: usize, verdicts: &mut Verdicts) {
        for args in [
            ["jobs", "list", "--limit", "50"].as_slice(),
            &["jobs", "list", "--limit", "50", "--state", "failed"],
            &["jobs", "list", "--limit", "50", "--folder", "photos"],
            &["status"],
        ] {
            let answer = || {
                let output = self.command(args).output().expect("the binary runs");
                assert!(output.status.success(), "{args:?}: {output:?}");
            };
            let took = (0..runs).map(|_| self.timed(answer).as_secs_f64() * 1000.0);
            let what = format!("{}, {when}", args.join(" "));
            verdicts.check(what, median(took.collect()), " ms", ANSWER_MS);
        }
    }
}

/// A million jobs in one statement a table: sources, reports and attempts as real ones have them; of a hundred, one
/// failed and one was skipped.
fn history_sql(rows: usize, output: &Path) -> String {
    let output = output.to_str().expect("a temporary directory has a plain name");
    let report = r#"{"input":{"width":4000,"height":3000,"format":"jpeg","bit_depth":8,"channels":3,"icc":"Display P3","orientation":6},"output":{"width":12000,"height":16000,"format":"jpeg","bytes":31337000},"model":{"name":"span-x4","sha256":"0000000000000000000000000000000000000000000000000000000000000000","scale":4},"plan":null,"oom_retries":0,"tile_history":[256],"device_peak_bytes":238000000,"host_peak_bytes":310000000,"warnings":[],"seconds":{"total":44.1,"decode":0.3,"inference":42.8,"encode":1.9}}"#;
    format!(
        "BEGIN;
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO jobs (id, folder, source, output_root, output, content, recipe, dev, ino, size, mtime_ns, ctime_ns,
                           priority, state, attempts, not_before_ms, reason_code, reason_message, result, report,
                           queued_at_ms, started_at_ms, finished_at_ms)
         SELECT i, 'photos', CAST(printf('%03d/IMG_%07d.jpg', i / 1000, i) AS BLOB), CAST('{output}' AS BLOB),
                CAST(printf('%03d/IMG_%07d_4x.jpg', i / 1000, i) AS BLOB),
                CAST(printf('%032d', i * 7919 % 1000003 * 1000003 + i) AS BLOB), zeroblob(32), 1, i, 5000000, i, i, 0,
                CASE i % 100 WHEN 7 THEN 'failed' WHEN 8 THEN 'skipped' ELSE 'done' END, 1, 0,
                iif(i % 100 IN (7, 8), 'io', NULL), iif(i % 100 IN (7, 8), 'for this benchmark', NULL),
                iif(i % 100 IN (7, 8), NULL, CAST(printf('%03d/IMG_%07d_4x.jpg', i / 1000, i) AS BLOB)), '{report}',
                1700000000000 + i * 1000, 1700000000000 + i * 1000, 1700000044000 + i * 1000
         FROM n;
         INSERT INTO sources (folder, source, job, dev, ino, size, mtime_ns, ctime_ns)
         SELECT folder, source, id, dev, ino, size, mtime_ns, ctime_ns FROM jobs;
         INSERT INTO attempts (job, number, owner, started_at_ms, finished_at_ms, outcome)
         SELECT id, 1, '4711@1700000000000', started_at_ms, finished_at_ms, state FROM jobs;
         COMMIT;"
    )
}
