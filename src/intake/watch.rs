//! Owns the events of the file system, the only file that names notify. An event is a hint: it may lie, repeat or
//! be lost. Never looks at a file and never decides anything.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use notify::event::{AccessKind, CreateKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Config, ErrorKind, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};

use crate::error::{one_line, plain};

/// Events that wait to be looked at: a few seconds of a busy copy. What does not fit becomes one rescan.
const QUEUED_EVENTS: usize = 4096;

/// Events taken at once, so that the thousand writes of one file become one look at it.
const BATCH: usize = 1024;

/// Where the kernel says how many directories one user may watch.
const WATCH_LIMIT: &str = "/proc/sys/fs/inotify/max_user_watches";

/// Something may have happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FsEvent {
    /// To a file (or whatever has that name by now), absolute.
    Touched(PathBuf),
    /// A directory came into being or was moved in. What lies in it already gave no event: it is to be walked.
    Directory(PathBuf),
    /// Events were lost: only a scan can tell.
    Rescan,
    /// The watched folder itself was deleted or moved away. What has its name next is not watched: whoever
    /// receives this drops the watch and begins another one.
    RootGone,
    /// From here on events are missing for good, for that reason. Whoever receives it drops the watch and scans.
    Blind(String),
}

/// Why a folder cannot be watched. It is scanned instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The kernel's limit on watched directories.
    #[error(
        "the limit of watched directories is reached ({}); found by scans until it is raised: \
         sysctl -w fs.inotify.max_user_watches={suggested}, then `upscaled rescan`",
        limit.map_or_else(|| "unknown".to_owned(), |limit| limit.to_string())
    )]
    Limit {
        /// The limit now.
        limit: Option<u64>,
        /// A limit that should do.
        suggested: u64,
    },
    /// The kernel's limit on those who watch.
    #[error(
        "all inotify instances of this user are taken; found by scans until there are more: \
         sysctl -w fs.inotify.max_user_instances=1024, then `upscaled rescan`"
    )]
    Instances,
    /// Anything else.
    #[error("the file system gives no events ({detail}); found by scans")]
    Other {
        /// What the system said.
        detail: String,
    },
}

impl WatchError {
    fn limit() -> Self {
        let limit = std::fs::read_to_string(WATCH_LIMIT)
            .ok()
            .and_then(|text| text.trim().parse::<u64>().ok());
        Self::Limit {
            limit,
            // How many this tree needs cannot be known without walking it, and other programs count too.
            suggested: limit.map_or(524_288, |limit| limit.saturating_mul(4).max(524_288)),
        }
    }

    fn from_notify(error: &notify::Error) -> Self {
        match &error.kind {
            ErrorKind::MaxFilesWatch => Self::limit(),
            ErrorKind::Io(error) if error.raw_os_error() == Some(libc::EMFILE) => Self::Instances,
            ErrorKind::Io(error) => Self::Other { detail: plain(error) },
            _ => Self::Other {
                detail: one_line(&error.to_string()),
            },
        }
    }
}

/// The seam to whatever tells of changes: the kernel, or a script in tests.
pub trait WatchSource: Debug + Send + Sync {
    /// Begins to watch. Events from the moment it returns are delivered, so a scan that begins later misses
    /// nothing. Blocking: it visits every directory.
    ///
    /// # Errors
    /// The folder cannot be watched.
    fn watch(&self, input: &Path, recursive: bool) -> Result<Watch, WatchError>;
}

/// A running watch; dropped, it ends.
pub struct Watch {
    events: mpsc::Receiver<FsEvent>,
    overflow: Arc<Overflow>,
    _keep: Box<dyn Send>,
}

impl Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

/// What must get through even when the channel is full.
#[derive(Debug, Default)]
struct Overflow {
    happened: AtomicBool,
    /// `RootGone` or `Blind`: the last word of this watch.
    end: OnceLock<FsEvent>,
    notify: Notify,
}

/// The sending side of a [`Watch`]. Never blocks: the kernel's own queue would overflow meanwhile.
#[derive(Debug, Clone)]
pub struct EventSender {
    events: mpsc::Sender<FsEvent>,
    overflow: Arc<Overflow>,
}

impl EventSender {
    /// Hands an event over; where there is no room, it becomes a [`FsEvent::Rescan`].
    pub fn send(&self, event: FsEvent) {
        if matches!(event, FsEvent::Blind(_) | FsEvent::RootGone) {
            // The first reason is as good as a later one.
            let _ = self.overflow.end.set(event);
            self.overflow.notify.notify_one();
        } else if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            self.overflow.happened.store(true, Ordering::Release);
            self.overflow.notify.notify_one();
        }
    }
}

impl Watch {
    /// A channel for events and its sender. `keep` is dropped with the watch.
    pub fn channel() -> (EventSender, impl FnOnce(Box<dyn Send>) -> Self) {
        let (sender, events) = mpsc::channel(QUEUED_EVENTS);
        let overflow = Arc::new(Overflow::default());
        let sender = EventSender {
            events: sender,
            overflow: Arc::clone(&overflow),
        };
        let attach = |keep| Self {
            events,
            overflow,
            _keep: keep,
        };
        (sender, attach)
    }

    /// Waits for events and takes all there are, up to a limit, without repetitions. `None`: there will be no
    /// more. May be dropped at any await: nothing is taken before it returns.
    pub async fn next_batch(&mut self) -> Option<Vec<FsEvent>> {
        let mut batch = Vec::new();
        while batch.is_empty() {
            let received = tokio::select! {
                received = self.events.recv_many(&mut batch, BATCH) => Some(received),
                () = self.overflow.notify.notified() => None,
            };
            if let Some(end) = self.overflow.end.get() {
                return Some(vec![end.clone()]);
            }
            if self.overflow.happened.swap(false, Ordering::Acquire) {
                // The scan finds what the waiting events tell of, and what the lost ones told of.
                while self.events.try_recv().is_ok() {}
                return Some(vec![FsEvent::Rescan]);
            }
            if received == Some(0) {
                return None;
            }
        }
        let mut seen = std::collections::HashSet::new();
        batch.retain(|event| seen.insert(event.clone()));
        Some(batch)
    }
}

/// The kernel's events, through notify.
#[derive(Debug, Clone, Copy, Default)]
pub struct NotifySource;

impl WatchSource for NotifySource {
    fn watch(&self, input: &Path, recursive: bool) -> Result<Watch, WatchError> {
        let (sender, attach) = Watch::channel();
        let root = input.to_owned();
        let handler = move |event: notify::Result<notify::Event>| match event {
            Ok(event) => translate(&root, event, &sender),
            Err(error) => match error.kind {
                ErrorKind::MaxFilesWatch => sender.send(FsEvent::Blind(WatchError::limit().to_string())),
                // A directory that vanished between its event and its watch, or a failed read: a hint was lost.
                _ => sender.send(FsEvent::Rescan),
            },
        };
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher =
            RecommendedWatcher::new(handler, config).map_err(|error| WatchError::from_notify(&error))?;
        let mode = if recursive {
            RecursiveMode::Recursive
        } else {
            RecursiveMode::NonRecursive
        };
        watcher
            .watch(input, mode)
            .map_err(|error| WatchError::from_notify(&error))?;
        Ok(attach(Box::new(watcher)))
    }
}

fn translate(root: &Path, event: notify::Event, sender: &EventSender) {
    // Before the paths: an overflow has none.
    if event.need_rescan() {
        return sender.send(FsEvent::Rescan);
    }
    let wrap: fn(PathBuf) -> FsEvent = match event.kind {
        // Opening and reading are our own doing as often as not, and change nothing.
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => FsEvent::Touched,
        EventKind::Access(_) => return,
        EventKind::Create(CreateKind::Folder) => FsEvent::Directory,
        // The same as the two events before it, with both paths.
        EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
        EventKind::Remove(RemoveKind::Folder | RemoveKind::Other)
        | EventKind::Modify(ModifyKind::Name(RenameMode::From))
            if event.paths.iter().any(|path| path == root) =>
        {
            return sender.send(FsEvent::RootGone);
        }
        // Whether it is a file or a directory that was moved in shows when it is looked at.
        _ => FsEvent::Touched,
    };
    for path in event.paths {
        sender.send(wrap(path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_many_events_become_one_rescan_and_never_block_the_sender() {
        let (sender, attach) = Watch::channel();
        let mut watch = attach(Box::new(()));
        for n in 0..QUEUED_EVENTS + 10 {
            sender.send(FsEvent::Touched(PathBuf::from(format!("/in/{n}.jpg"))));
        }
        assert_eq!(watch.next_batch().await, Some(vec![FsEvent::Rescan]));
        sender.send(FsEvent::Touched("/in/a.jpg".into()));
        assert_eq!(
            watch.next_batch().await,
            Some(vec![FsEvent::Touched("/in/a.jpg".into())])
        );
        drop(sender);
        assert_eq!(watch.next_batch().await, None);
    }

    #[tokio::test]
    async fn the_many_writes_of_one_file_are_one_event() {
        let (sender, attach) = Watch::channel();
        let mut watch = attach(Box::new(()));
        for _ in 0..BATCH {
            sender.send(FsEvent::Touched("/in/a.jpg".into()));
        }
        assert_eq!(
            watch.next_batch().await,
            Some(vec![FsEvent::Touched("/in/a.jpg".into())])
        );
    }

    #[tokio::test]
    async fn an_overflow_of_the_kernel_has_no_path_and_still_asks_for_a_scan() {
        let (sender, attach) = Watch::channel();
        let mut watch = attach(Box::new(()));
        let event = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        translate(Path::new("/in"), event, &sender);
        assert_eq!(watch.next_batch().await, Some(vec![FsEvent::Rescan]));
    }

    #[test]
    fn a_reached_limit_says_what_to_type() {
        let message = WatchError::Limit {
            limit: Some(8192),
            suggested: 524_288,
        }
        .to_string();
        assert!(
            message.contains("(8192)") && message.contains("sysctl -w fs.inotify.max_user_watches=524288")
        );
        let WatchError::Limit { suggested, .. } =
            WatchError::from_notify(&notify::Error::new(ErrorKind::MaxFilesWatch))
        else {
            unreachable!("a limit stays a limit");
        };
        assert!(suggested >= 524_288);
    }
}
