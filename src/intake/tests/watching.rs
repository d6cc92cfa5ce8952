//! The loop of a folder, from what people and programs do to what the ledger gets.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;

use super::*;
use crate::queue::State;
use crate::report::JobState;

#[tokio::test]
async fn a_copied_file_becomes_one_queued_job_with_everything_the_worker_needs() {
    let mut running = Place::new(50).await.run_and_look().await;
    assert_eq!(running.status.borrow().mode, Mode::Events);
    running.drop_file("a.jpg", "one");
    let admitted = running.next().await;
    assert!(matches!(admitted.admission, Admission::New(_)), "{admitted:?}");
    running
        .until(|status| status.settling == 0 && status.last_event_at.is_some())
        .await;
    let place = running.end().await;
    let job = place.only_job().await;
    assert_eq!(
        (job.folder.as_str(), job.source.as_path()),
        ("photos", Path::new("a.jpg"))
    );
    assert_eq!(
        (job.output_root.clone(), job.output.as_path()),
        (place.beside("out"), Path::new("a.out.png"))
    );
    assert_eq!((job.content, job.recipe), (hash_of("oneEND"), [7; 32]));
    assert_eq!(job.identity, FileIdentity::read(&place.input("a.jpg")).unwrap());
    assert_eq!((job.state, job.priority), (State::Queued, 3));
}

#[tokio::test]
async fn i1_a_file_that_is_open_for_writing_is_not_read_however_quiet_and_whole_it_looks() {
    let mut running = Place::new(50).await.run_and_look().await;
    let mut writer = File::create(running.input("slow.jpg")).unwrap();
    writer.write_all(b"firstEND").unwrap();
    running.until(|status| status.settling == 1).await;
    // The other file comes later and settles later.
    running.drop_file("other.jpg", "x");
    running.admits(&["other.jpg"]).await;
    writer.write_all(b"secondEND").unwrap();
    drop(writer);
    running.admits(&["slow.jpg"]).await;
    let jobs = running.end().await.jobs().await;
    let slow: Vec<_> = jobs
        .iter()
        .filter(|job| job.source == Path::new("slow.jpg"))
        .collect();
    assert_eq!(slow.len(), 1);
    assert_eq!(slow[0].content, hash_of("firstENDsecondEND"));
}

#[tokio::test]
async fn a_preallocated_file_is_not_taken_before_it_is_filled() {
    let mut running = Place::new(50).await.run_and_look().await;
    let mut file = File::create(running.input("big.jpg")).unwrap();
    file.set_len(64).unwrap();
    // Between two requests of a share, the server has the file closed.
    drop(file);
    running.until(|status| status.settling == 1).await;
    running.drop_file("other.jpg", "x");
    running.admits(&["other.jpg"]).await;
    file = OpenOptions::new()
        .write(true)
        .open(running.input("big.jpg"))
        .unwrap();
    file.seek(SeekFrom::Start(61)).unwrap();
    file.write_all(END.as_bytes()).unwrap();
    drop(file);
    running.admits(&["big.jpg"]).await;
    let place = running.end().await;
    assert_eq!(place.jobs().await.len(), 2);
}

#[tokio::test]
async fn files_that_appear_without_being_written_are_found() {
    let mut running = Place::new(50).await.run_and_look().await;
    running.drop_file("a.jpg.part", "renamed");
    rename(&running.input("a.jpg.part"), &running.input("a.jpg"));
    std::fs::write(running.beside("out.jpg"), "linkedEND").unwrap();
    std::fs::hard_link(running.beside("out.jpg"), running.input("b.jpg")).unwrap();
    running.admits(&["a.jpg", "b.jpg"]).await;
    running.end().await;
}

#[tokio::test]
async fn trees_that_are_moved_in_or_filled_at_once_are_found_whole() {
    let mut running = Place::new(50).await.run_and_look().await;
    let tree = running.beside("trip");
    std::fs::create_dir_all(tree.join("day1/deep")).unwrap();
    std::fs::create_dir_all(tree.join(".hidden")).unwrap();
    for name in ["a.jpg", "day1/b.jpg", "day1/deep/c.jpg", ".hidden/d.jpg"] {
        std::fs::write(tree.join(name), format!("{name}{END}")).unwrap();
    }
    rename(&tree, &running.input("trip"));
    std::fs::create_dir_all(running.input("x/y/z")).unwrap();
    running.drop_file("x/y/z/e.jpg", "e");
    running.drop_file("x/f.jpg", "f");
    let names = [
        "trip/a.jpg",
        "trip/day1/b.jpg",
        "trip/day1/deep/c.jpg",
        "x/y/z/e.jpg",
        "x/f.jpg",
    ];
    running.admits(&names).await;
    assert_eq!(running.end().await.jobs().await.len(), names.len());
}

#[tokio::test]
async fn new_content_is_a_new_job_and_a_touch_is_none() {
    let mut running = Place::new(50).await.run_and_look().await;
    running.drop_file("a.jpg", "one");
    let first = running.next().await.admission;
    let file = OpenOptions::new()
        .append(true)
        .open(running.input("a.jpg"))
        .unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    drop(file);
    assert_eq!(
        running.next().await.admission,
        Admission::Known(first.id(), JobState::Queued)
    );
    running.drop_file("a.jpg", "two");
    let second = running.next().await.admission;
    assert!(
        matches!(second, Admission::New(id) if id != first.id()),
        "{second:?}"
    );
    let place = running.end().await;
    assert_eq!(place.jobs().await.len(), 2);
}

#[tokio::test]
async fn junk_is_neither_taken_nor_waited_for() {
    let mut running = Place::new(20).await.run_and_look().await;
    for dir in ["directory.jpg", "@eaDir", ".upscaled/jobs"] {
        std::fs::create_dir_all(running.input(dir)).unwrap();
    }
    for name in [
        ".a.jpg",
        "a.jpg.crdownload",
        "~$a.jpg",
        "@eaDir/a.jpg",
        ".upscaled/jobs/a.jpg",
        "status.json",
    ] {
        running.drop_file(name, "junk");
    }
    std::fs::write(running.input("empty.jpg"), "").unwrap();
    std::fs::write(running.beside("real.jpg"), "linkedEND").unwrap();
    std::os::unix::fs::symlink(running.beside("real.jpg"), running.input("link.jpg")).unwrap();
    let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
    rustix::fs::mknodat(rustix::fs::CWD, running.input("fifo.jpg"), kind, mode, 0).unwrap();
    running.drop_file("good.jpg", "good");
    running.admits(&["good.jpg"]).await;
    running.until_idle().await;
    let place = running.end().await;
    assert_eq!(place.only_job().await.source, Path::new("good.jpg"));
}

#[tokio::test]
async fn odd_names_arrive_in_the_ledger_byte_by_byte() {
    let mut running = Place::new(20).await.run_and_look().await;
    let odd = Path::new(OsStr::from_bytes(b"caf\xe9\xff \n'\".JPG"));
    running.drop_file(odd, "odd");
    assert_eq!(running.next().await.source, odd);
    let place = running.end().await;
    assert_eq!(place.only_job().await.source, odd);
}

#[tokio::test]
async fn a_restart_finds_the_same_files_and_makes_nothing_twice() {
    let mut running = Place::new(20).await.run().await;
    let names: Vec<String> = (0..60).map(|n| format!("{n}.jpg")).collect();
    for name in &names {
        running.drop_file(name, name);
    }
    running
        .admits(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    let place = running.end().await;
    let mut running = place.run_and_look().await;
    running.until_idle().await;
    let mut place = running.end().await;
    assert_eq!(place.jobs().await.len(), names.len());
    assert!(
        place.admitted.try_recv().is_err(),
        "known files are not even read"
    );
}

#[tokio::test]
async fn a_missing_folder_is_offline_until_it_appears_and_is_never_created() {
    let place = Place::new(20).await;
    std::fs::remove_dir(place.input("")).unwrap();
    let mut running = place.run().await;
    let status = running.until(|status| status.offline.is_some()).await;
    assert!(status.offline.unwrap().contains("is missing"));
    assert!(!running.input("").exists());
    std::fs::create_dir(running.input("")).unwrap();
    running.drop_file("a.jpg", "one");
    running.rescan.send(()).await.unwrap();
    running.admits(&["a.jpg"]).await;
    assert_eq!(running.status.borrow().offline, None);
    running.end().await;
}

#[tokio::test]
async fn a_folder_that_was_deleted_and_made_anew_is_watched_again_and_its_jobs_are_kept() {
    let mut running = Place::new(20).await.run_and_look().await;
    running.drop_file("a.jpg", "one");
    running.admits(&["a.jpg"]).await;
    std::fs::remove_dir_all(running.input("")).unwrap();
    std::fs::create_dir(running.input("")).unwrap();
    running.until_idle().await;
    // By an event of the new directory: scans are an hour apart.
    running.drop_file("b.jpg", "two");
    running.admits(&["b.jpg"]).await;
    assert_eq!(running.end().await.jobs().await.len(), 2);
}

#[tokio::test]
async fn lost_events_lead_to_a_scan() {
    let mut place = Place::new(20).await;
    let script = Arc::new(Script::default());
    place.ctx.source = Arc::clone(&script) as Arc<dyn WatchSource>;
    let mut running = place.run_and_look().await;
    running.drop_file("a.jpg", "one");
    script.send(FsEvent::Rescan);
    running.admits(&["a.jpg"]).await;
    // Lies: files that are not there, directories that are files, paths from elsewhere.
    script.send(FsEvent::Touched(running.input("gone.jpg")));
    script.send(FsEvent::Directory(running.input("a.jpg")));
    script.send(FsEvent::Touched("/etc/passwd".into()));
    script.send(FsEvent::Blind("out of watches".to_owned()));
    let status = running.until(|status| status.mode == Mode::Scan).await;
    assert_eq!(status.why.as_deref(), Some("out of watches"));
    // A person raised the limit.
    drop(script.sender.lock().unwrap().take());
    running.rescan.send(()).await.unwrap();
    running
        .until(|status| status.mode == Mode::Events && status.why.is_none())
        .await;
    // The new watch is alive, and ends with its folder; the next one is alive too.
    script.send(FsEvent::RootGone);
    running.drop_file("b.jpg", "two");
    running.admits(&["b.jpg"]).await;
    running.until(|status| status.mode == Mode::Events).await;
    running.drop_file("c.jpg", "three");
    script.send(FsEvent::Touched(running.input("c.jpg")));
    running.admits(&["c.jpg"]).await;
    assert_eq!(running.end().await.jobs().await.len(), 3);
}

#[tokio::test]
async fn without_events_scans_do_and_the_status_says_why() {
    let mut place = Place::new(20).await;
    place.ctx.folder.rescan = Some(Duration::from_millis(50));
    place.ctx.source = Arc::new(Script {
        refuse: Some(WatchError::Limit {
            limit: Some(8),
            suggested: 64,
        }),
        ..Script::default()
    });
    let mut running = place.run_and_look().await;
    running.drop_file("a.jpg", "one");
    running.admits(&["a.jpg"]).await;
    let status = running.status.borrow().clone();
    assert_eq!(status.mode, Mode::Scan);
    assert!(status.why.unwrap().contains("max_user_watches=64"));
    running.end().await;
}

#[tokio::test]
async fn a_ledger_that_does_not_answer_is_shown_and_does_not_end_the_loop() {
    let mut running = Place::new(20).await.run_and_look().await;
    running.ctx.store.close().await;
    running.drop_file("a.jpg", "one");
    let status = running.until(|status| status.problem.is_some()).await;
    assert!(status.problem.unwrap().contains("state.db"));
    assert!(!running.task.is_finished());
    running.end().await;
}

#[tokio::test]
async fn a_source_without_a_place_for_its_result_is_shown_with_the_reason() {
    let mut place = Place::new(20).await;
    place.ctx.plan_output = Arc::new(|_| Err("the name\nis too long".to_owned()));
    let mut running = place.run_and_look().await;
    running.drop_file("a.jpg", "one");
    let status = running.until(|status| status.problem.is_some()).await;
    assert_eq!(status.problem.as_deref(), Some("the name\\nis too long"));
    assert!(running.end().await.jobs().await.is_empty());
}

#[tokio::test]
async fn a_check_that_panics_costs_one_file_its_turn_and_nobody_else() {
    fn panics(path: &Path) -> io::Result<bool> {
        assert!(!path.ends_with("evil.jpg"), "an evil file");
        Ok(true)
    }
    let mut place = Place::new(20).await;
    place.ctx.looks_complete = panics;
    let mut running = place.run_and_look().await;
    running.drop_file("evil.jpg", "x");
    let status = running.until(|status| status.problem.is_some()).await;
    assert!(
        status
            .problem
            .unwrap()
            .contains("evil.jpg: the check of its structure failed")
    );
    running.drop_file("good.jpg", "y");
    running.admits(&["good.jpg"]).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_stays_incomplete_is_taken_in_after_ten_minutes_so_that_its_job_can_say_so() {
    let mut place = Place::new(10_000).await;
    place.ctx.source = Arc::new(Script::default());
    std::fs::write(place.input("cut.jpg"), "no ending").unwrap();
    let start = place.ctx.clock.monotonic();
    let mut running = place.run().await;
    // Time is paused: a deadline would pass at once.
    assert_eq!(
        running.place.admitted.recv().await.unwrap().source,
        Path::new("cut.jpg")
    );
    assert!(running.ctx.clock.monotonic().since(start) >= Duration::from_secs(600));
}

#[tokio::test]
async fn more_new_files_than_fit_are_all_taken_in_without_waiting_for_the_next_scan() {
    let mut place = Place::new(20).await;
    // Scans are an hour apart.
    place.ctx.source = Arc::new(Script::default());
    place.ctx.candidates = 8;
    let names: Vec<String> = (0..50).map(|n| format!("{n}/{n}.jpg")).collect();
    for name in &names {
        std::fs::create_dir_all(place.input(name).parent().unwrap()).unwrap();
        place.drop_file(name, name);
    }
    let mut running = place.run().await;
    running
        .admits(&names.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    assert_eq!(running.end().await.jobs().await.len(), names.len());
}

#[tokio::test]
async fn a_file_that_the_ledger_cannot_live_with_keeps_no_other_out() {
    let mut place = Place::new(20).await;
    // A place for its result that the ledger's own rules refuse.
    place.ctx.plan_output = Arc::new(|rel| match rel.ends_with("evil.jpg") {
        true => Ok(PathBuf::new()),
        false => Ok(rel.to_owned()),
    });
    for name in ["a.jpg", "evil.jpg", "z.jpg"] {
        place.drop_file(name, name);
    }
    let mut running = place.run().await;
    running.admits(&["a.jpg", "z.jpg"]).await;
    running.until(|status| status.problem.is_some()).await;
    assert_eq!(running.end().await.jobs().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_share_that_does_not_answer_holds_up_no_other_folder_for_long() {
    let mut place = Place::new(10).await;
    place.ctx.source = Arc::new(Script::default());
    // Others are reading, and never end.
    place.ctx.hashing = Arc::new(Semaphore::new(0));
    place.drop_file("a.jpg", "one");
    let mut running = place.run().await;
    assert_eq!(
        running.place.admitted.recv().await.unwrap().source,
        Path::new("a.jpg")
    );
}

#[tokio::test]
async fn results_below_the_input_are_not_taken_whether_a_scan_or_an_event_finds_them() {
    let mut place = Place::new(20).await;
    place.ctx.chained = vec![place.input("chain")];
    for dir in ["theirs/2024", "theirs/.upscaled", "chain/.upscaled"] {
        std::fs::create_dir_all(place.input(dir)).unwrap();
    }
    place.drop_file("theirs/2024/scanned.jpg", "x");
    let mut running = place.run_and_look().await;
    running.drop_file("theirs/2024/told.jpg", "y");
    running.drop_file("chain/link.jpg", "z");
    running.admits(&["chain/link.jpg"]).await;
    running.until_idle().await;
    let problem = running.status.borrow().problem.clone().unwrap();
    assert!(problem.contains("theirs holds results of upscaled"), "{problem}");
    assert_eq!(
        running.end().await.only_job().await.source,
        Path::new("chain/link.jpg")
    );
}
