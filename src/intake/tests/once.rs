//! The single pass of `upscaled once`.

use std::fs::OpenOptions;

use super::*;
use crate::clock::{Clock, Monotonic};

/// Two hours ahead of every file that a test writes.
#[derive(Debug)]
struct Later(SharedClock);

impl Clock for Later {
    fn monotonic(&self) -> Monotonic {
        self.0.monotonic()
    }
    fn wall(&self) -> Timestamp {
        self.0.wall() + Duration::from_secs(7200)
    }
}

#[tokio::test(start_paused = true)]
async fn once_takes_old_files_at_once_even_incomplete_ones_and_counts_everything() {
    let clock: SharedClock = Arc::new(Later(SystemClock::shared()));
    let place = Place::with_clock(3_600_000, Arc::clone(&clock)).await;
    place.drop_file("a.jpg", "one");
    std::fs::write(place.input("cut.jpg"), "no ending").unwrap();
    std::fs::write(place.input("empty.jpg"), "").unwrap();
    let start = clock.monotonic();
    let summary = scan_once(place.ctx.clone()).await.unwrap();
    assert_eq!(
        clock.monotonic().since(start),
        Duration::ZERO,
        "nothing was waited for"
    );
    let mut names: Vec<_> = summary
        .admitted
        .iter()
        .map(|(source, _)| source.clone())
        .collect();
    names.sort();
    assert_eq!(names, ["a.jpg", "cut.jpg"].map(PathBuf::from));
    assert!(
        summary
            .admitted
            .iter()
            .all(|(_, admission)| matches!(admission, Admission::New(_)))
    );
    let again = scan_once(place.ctx.clone()).await.unwrap();
    assert_eq!((again.admitted.len(), again.known), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn once_waits_for_young_files_and_leaves_a_file_that_stays_open_to_the_next_run() {
    let place = Place::new(10_000).await;
    place.drop_file("young.jpg", "one");
    place.drop_file("held.jpg", "two");
    let writer = OpenOptions::new()
        .append(true)
        .open(place.input("held.jpg"))
        .unwrap();
    let start = place.ctx.clock.monotonic();
    let summary = scan_once(place.ctx.clone()).await.unwrap();
    assert!(place.ctx.clock.monotonic().since(start) >= Duration::from_secs(60));
    assert_eq!(summary.admitted.len(), 1);
    assert_eq!(summary.admitted[0].0, Path::new("young.jpg"));
    assert_eq!(summary.held, [PathBuf::from("held.jpg")]);
    drop(writer);
    let summary = scan_once(place.ctx.clone()).await.unwrap();
    assert_eq!(
        (summary.admitted.len(), summary.known, summary.held.len()),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn once_fails_where_the_folder_is_missing() {
    let place = Place::new(20).await;
    std::fs::remove_dir(place.input("")).unwrap();
    let error = scan_once(place.ctx.clone()).await.unwrap_err();
    assert!(matches!(error, IntakeError::Offline(_)));
    assert!(Fault::from(error).reason.message.contains("mount or create it"));
}
