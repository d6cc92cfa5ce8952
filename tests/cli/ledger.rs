//! `upscaled status`, `jobs`, `pause`, `rescan` without a daemon: everything works that makes sense.

use std::fs;

use serde_json::Value;

use super::desk::Desk;

#[test]
fn status_and_jobs_answer_before_the_first_run() {
    let desk = Desk::new();
    desk.configure();
    let status = desk.run(&["status", "--json"]);
    status.ok();
    let status = status.json();
    assert_eq!(status["version"], 1);
    assert_eq!(status["service"], "stopped");
    assert_eq!(status["counts"]["queued"], 0);
    assert_eq!(status["folders"][0]["folder"], "photos");
    for key in ["blocked_reason", "paused", "device", "memory"] {
        assert!(status.get(key).is_some(), "{key} is missing from {status}");
    }
    assert!(desk.run(&["status"]).ok().contains("stopped"));
    assert_eq!(
        desk.run(&["jobs", "list", "--json"]).json(),
        serde_json::json!([])
    );
    assert!(!desk.path("state").exists(), "looking must not create anything");
    for args in [
        ["jobs", "retry", "7"].as_slice(),
        &["jobs", "cancel", "7"],
        &["jobs", "remove", "7"],
        &["jobs", "show", "7"],
        &["pause"],
        &["resume"],
    ] {
        assert!(desk.run(args).one_line(74).contains("no ledger"), "{args:?}");
    }
}

/// A ledger with a failed and a waiting job, as a daemon would have left it.
fn ledger(desk: &Desk) {
    use upscaled::clock::SystemClock;
    use upscaled::error::{Reason, ReasonCode};
    use upscaled::fs::FileIdentity;
    use upscaled::queue::{NewJob, Store};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let store = Store::open(&desk.path("state"), SystemClock::shared())
            .await
            .expect("a ledger");
        for (number, name) in [(1u8, "bad\nname.png"), (2, "good.png")] {
            let job = NewJob {
                folder: "photos".to_owned(),
                source: name.into(),
                output_root: desk.path("out"),
                output: format!("{number}_4x.png").into(),
                content: [number; 32],
                recipe: [0; 32],
                identity: FileIdentity {
                    dev: 1,
                    ino: u64::from(number),
                    size: 1,
                    mtime_ns: 1,
                    ctime_ns: 1,
                },
                priority: 0,
            };
            store.admit(&job).await.expect("admitted");
            if number == 1 {
                let claim = store
                    .claim("test", std::time::Duration::from_secs(60), &[])
                    .await
                    .expect("a ledger that answers")
                    .expect("a job to claim");
                let reason = Reason::new(ReasonCode::Unreadable, "cannot read bad\nname.png");
                store.record_failed(claim, reason, None).await.expect("recorded");
            }
        }
        store.close().await;
    });
}

#[test]
fn jobs_are_listed_shown_retried_and_cancelled_without_a_daemon() {
    let desk = Desk::new();
    desk.configure();
    ledger(&desk);
    let table = desk.run(&["jobs", "list"]);
    assert_eq!(
        table.ok().lines().count(),
        3,
        "a name with a newline stays on its line: {table:?}"
    );
    assert!(table.stdout.contains("bad\\nname.png"));

    let failed = desk.run(&["jobs", "list", "--state", "failed", "--json"]).json();
    let keys = [
        "job",
        "folder",
        "source",
        "state",
        "attempts",
        "reason",
        "queued_at",
        "finished_at",
    ];
    let found = failed[0].as_object().expect("an object");
    assert_eq!(found.len(), keys.len(), "{found:?}");
    assert!(keys.iter().all(|key| found.contains_key(*key)), "{found:?}");
    assert_eq!(failed[0]["reason"]["code"], "unreadable");
    let id = failed[0]["job"].to_string();

    let shown = desk.run(&["jobs", "show", &id]);
    assert!(
        shown.ok().contains("attempt 1") && shown.ok().contains("unreadable"),
        "{shown:?}"
    );
    assert_eq!(
        desk.run(&["jobs", "show", &id, "--json"]).json()["state"],
        "failed"
    );
    assert!(desk.run(&["jobs", "show", "999"]).one_line(1).contains("999"));

    assert!(desk.run(&["jobs", "retry", &id]).ok().contains("queued again"));
    let document = desk.path("out/.upscaled/jobs/bad\nname.png.json");
    let document: Value = serde_json::from_slice(&fs::read(document).expect("a job file")).expect("JSON");
    assert_eq!(document["state"], "queued");
    let again = desk.run(&["jobs", "retry", &id, "999"]);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert_eq!(again.stderr.lines().count(), 2);

    assert!(desk.run(&["jobs", "cancel", &id]).ok().contains("cancelled"));
    assert!(
        desk.run(&["jobs", "retry", "--all-failed"])
            .ok()
            .contains("no job has failed")
    );
    assert_eq!(desk.run(&["status", "--json"]).json()["counts"]["queued"], 1);
}

#[test]
fn jobs_are_removed_only_when_they_are_finished_and_their_files_go_with_them() {
    let desk = Desk::new();
    desk.configure();
    ledger(&desk);
    let text = desk.write("out/failed/bad\nname.png.error.txt", "why");
    let document = desk.write("out/.upscaled/jobs/bad\nname.png.json", "{}");
    desk.write("in/bad\nname.png", "no picture");
    let failed = desk.run(&["jobs", "list", "--state", "failed", "--json"]).json()[0]["job"].to_string();
    let queued = desk.run(&["jobs", "list", "--state", "queued", "--json"]).json()[0]["job"].to_string();

    let refused = desk.run(&["jobs", "remove", &queued]);
    assert!(
        refused.one_line(1).contains("upscaled jobs cancel"),
        "{refused:?}"
    );
    let removed = desk.run(&["jobs", "remove", &failed]);
    assert!(
        removed.ok().contains("the next scan takes it as a new one"),
        "{removed:?}"
    );
    assert!(!text.exists() && !document.exists());
    assert!(
        desk.run(&["jobs", "remove", &failed])
            .one_line(1)
            .contains("there is no job")
    );
    desk.run(&["jobs", "cancel", &queued]).ok();
    let removed = desk.run(&["jobs", "remove", &queued, "--json"]).json();
    assert_eq!(
        removed,
        serde_json::json!([{ "job": queued.parse::<i64>().expect("a number"), "state": null, "changed": true }])
    );
    assert_eq!(
        desk.run(&["jobs", "list", "--json"]).json(),
        serde_json::json!([])
    );
}

#[test]
fn a_pause_is_told_and_ended_without_a_daemon_and_a_rescan_needs_none() {
    let desk = Desk::new();
    desk.configure();
    ledger(&desk);
    let paused = desk.run(&["pause", "--for", "2h"]);
    assert!(paused.ok().contains("its next start keeps to it"), "{paused:?}");
    let status = desk.run(&["status", "--json"]).json();
    assert!(status["paused"]["until"].is_string(), "{status}");
    let report = desk.run(&["pause", "--json"]).json();
    assert_eq!(report["paused"]["until"], Value::Null, "prolonged without an end");
    assert_eq!(report["running"], false);
    assert!(desk.run(&["resume"]).ok().contains("resumed"));
    assert!(desk.run(&["resume"]).ok().contains("it was not paused"));
    assert_eq!(desk.run(&["status", "--json"]).json()["paused"], Value::Null);
    assert!(
        desk.run(&["rescan"])
            .ok()
            .contains("next start scans all folders")
    );
    assert_eq!(
        desk.run(&["rescan", "--json"]).json(),
        serde_json::json!({ "requested": false })
    );
}
