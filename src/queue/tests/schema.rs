//! What SQLite itself refuses, whatever the code does.

use super::*;

async fn refused(ledger: &Ledger, sql: &'static str) -> String {
    let mut raw = ledger.raw().await;
    let refused = sqlx::raw_sql(sql).execute(&mut raw).await;
    refused.expect_err(sql).to_string()
}

#[tokio::test]
async fn history_is_not_rewritten() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    for sql in [
        "UPDATE attempts SET outcome = 'failed'",
        "UPDATE attempts SET finished_at_ms = NULL, outcome = NULL",
        "UPDATE attempts SET owner = 'another'",
    ] {
        let refusal = refused(&ledger, sql).await;
        assert!(
            refusal.contains("a finished attempt is history and is not changed"),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn i2_i3_and_i10_hold_against_any_statement() {
    let ledger = Ledger::new().await;
    ledger.queue("a.png", 1).await;
    ledger.queue("b.png", 2).await;
    for sql in [
        // I2
        "UPDATE jobs SET content = zeroblob(32), output = x'61'",
        // I3
        "UPDATE jobs SET state = 'running', attempts = 0, lease_owner = 'x', lease_until_ms = 0, attempt = 1",
        // I10
        "UPDATE jobs SET state = 'failed', finished_at_ms = 0",
        "UPDATE jobs SET state = 'skipped', finished_at_ms = 0",
        "UPDATE jobs SET state = 'cancelled', finished_at_ms = 0",
        "UPDATE jobs SET reason_code = 'io'",
        // A state tells what a row holds.
        "UPDATE jobs SET state = 'paused'",
        "UPDATE jobs SET state = 'done', finished_at_ms = 0",
        "UPDATE jobs SET state = 'running', attempts = 1",
        "UPDATE jobs SET lease_owner = 'x', lease_until_ms = 0, attempt = 1",
        "UPDATE jobs SET publish_temp = x'61', publish_final = x'61', publish_digest = zeroblob(32)",
        "UPDATE jobs SET finished_at_ms = 0",
        "UPDATE jobs SET content = zeroblob(31)",
        "UPDATE jobs SET report = '{'",
        "UPDATE jobs SET attempts = 'three'",
        "UPDATE jobs SET device_losses = -1",
        "INSERT INTO sources VALUES ('photos', x'62', 99, 0, 0, 0, 0, 0, NULL)",
        "INSERT INTO controls (name, since_ms) VALUES ('faster', 0)",
    ] {
        let refusal = refused(&ledger, sql).await;
        assert!(
            ["constraint failed", "cannot store TEXT"]
                .iter()
                .any(|word| refusal.contains(word)),
            "{sql}: {refusal}"
        );
    }
}

#[tokio::test]
async fn the_number_of_a_removed_job_is_not_given_to_another_and_its_traces_go_with_it() {
    let ledger = Ledger::new().await;
    let id = ledger.queue("a.png", 1).await;
    ledger.work("a.png").await;
    let mut raw = ledger.raw().await;
    sqlx::raw_sql("DELETE FROM jobs").execute(&mut raw).await.unwrap();
    assert!(ledger.store.attempts(id).await.unwrap().is_empty());
    assert!(ledger.store.lying("photos", None).await.unwrap().is_empty());
    assert!(ledger.queue("a.png", 1).await > id);
    let claim = ledger.claim().await;
    ledger.store.release(claim).await.unwrap();
}
