//! Owns the ledger's connections: how the database is opened, checked, migrated and closed, and who may write
//! at a time. Never knows what a job is.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, Sqlite, SqliteConnection, Transaction};
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard};

use super::aside;
use super::error::QueueError;
use crate::clock::SharedClock;
use crate::fs::{Filesystem, RealFilesystem};

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// The database's name in the state directory.
pub(super) const DATABASE: &str = "state.db";

/// Three: status, intake and a person's question at the same time. Each is a thread and a page cache.
const READERS: usize = 3;

/// How long a write waits for the other process that holds the write lock (`upscaled jobs retry` beside the
/// daemon). Every transaction here takes milliseconds; longer than this means that something hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The ledger. Clones share their connections.
///
/// One connection writes and each write is one `BEGIN IMMEDIATE` transaction: a deferred transaction that
/// reads and then writes fails with `SQLITE_BUSY_SNAPSHOT` however long it waits. Readers have their own.
/// All calls may be dropped at any await: their transaction is then committed or rolled back, never half.
///
/// The connections are held in plain mutexes, not in sqlx's pool: its `acquire` runs a tokio timer, which
/// paused time fires while SQLite's own thread is still at work.
#[derive(Debug, Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    clock: SharedClock,
    /// `None`: opened for reading, or closed.
    writer: Mutex<Option<SqliteConnection>>,
    readers: [Mutex<Option<SqliteConnection>>; READERS],
    next_reader: AtomicUsize,
    /// SQLite found the database damaged.
    is_damaged: AtomicBool,
}

impl Store {
    /// Opens the ledger for reading and writing; creates the directory and the database where missing and
    /// brings an older schema up to date.
    ///
    /// # Errors
    /// A network file system, a database that is newer, damaged or not ours, a directory that cannot be written.
    pub async fn open(state_dir: &Path, clock: SharedClock) -> Result<Self, QueueError> {
        prepare_state_dir(state_dir)?;
        let path = state_dir.join(DATABASE);
        // Two processes that create the same database at the same time (a service and a command) would both
        // apply the first migration. The kernel drops this lock with the descriptor, on every way out.
        let _creating = lock_directory(state_dir).await?;
        // Ours before SQLite's: SQLite would create it readable by everybody. -wal and -shm take its mode.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|error| io_error("open", &path, error))?;
        let mut writer = connect(&path, options(&path)).await?;
        migrate(&path, &mut writer).await?;
        RealFilesystem
            .sync_dir(state_dir)
            .map_err(|error| io_error("sync", state_dir, error))?;
        Self::assemble(path, clock, Some(writer)).await
    }

    /// Opens the ledger for reading only, beside a running service or without one. Every call that writes
    /// fails with [`QueueError::Closed`].
    ///
    /// # Errors
    /// [`QueueError::Missing`] where there is no database; as [`Store::open`] otherwise. A schema that is
    /// older is not touched: [`QueueError::TooOld`].
    pub async fn open_read_only(state_dir: &Path, clock: SharedClock) -> Result<Self, QueueError> {
        let path = state_dir.join(DATABASE);
        match path.metadata() {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(QueueError::Missing { path });
            }
            Err(error) => return Err(io_error("open", &path, error)),
        }
        let mut probe = connect(&path, options(&path).read_only(true)).await?;
        let (found, known) = (schema_version(&path, &mut probe).await?, newest_schema());
        close(probe).await;
        match found {
            Some(found) if found < known => Err(QueueError::TooOld { path, found, known }),
            Some(found) if found > known => Err(QueueError::TooNew { path, found, known }),
            Some(_) => Self::assemble(path, clock, None).await,
            None => Err(QueueError::Missing { path }),
        }
    }

    async fn assemble(
        path: PathBuf,
        clock: SharedClock,
        writer: Option<SqliteConnection>,
    ) -> Result<Self, QueueError> {
        let mut readers = [const { None }; READERS];
        for reader in &mut readers {
            *reader = Some(connect(&path, options(&path).read_only(true)).await?);
        }
        Ok(Self {
            inner: Arc::new(Inner {
                path,
                clock,
                writer: Mutex::new(writer),
                readers: readers.map(Mutex::new),
                next_reader: AtomicUsize::new(0),
                is_damaged: AtomicBool::new(false),
            }),
        })
    }

    /// Closes every connection and waits for it: the log is folded into the database. Later calls on any
    /// clone fail with [`QueueError::Closed`].
    pub async fn close(&self) {
        // The writer last: only the last connection of all folds the log, and a reader is not allowed to.
        for connection in self.inner.readers.iter().chain([&self.inner.writer]) {
            let connection = connection.lock().await.take();
            if let Some(connection) = connection {
                close(connection).await;
            }
        }
    }

    /// Reads the whole database and checks its structure: for `doctor`.
    ///
    /// # Errors
    /// [`QueueError::Corrupt`] with the first thing that is wrong.
    pub async fn check(&self) -> Result<(), QueueError> {
        let mut reader = self.reader().await?;
        let checked = check_pages(&self.inner.path, &mut reader).await;
        if let Err(QueueError::Corrupt { .. }) = checked {
            self.note_damage();
        }
        checked
    }

    /// Whether any call on any clone found the database damaged: nothing good comes of going on with it.
    pub fn is_damaged(&self) -> bool {
        self.inner.is_damaged.load(Ordering::Relaxed)
    }

    /// Has the next start look at the whole database.
    fn note_damage(&self) {
        if !self.inner.is_damaged.swap(true, Ordering::Relaxed) {
            aside::suspect(&self.inner.path);
        }
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    pub(super) fn now(&self) -> Timestamp {
        self.inner.clock.wall()
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.now().as_millisecond()
    }

    /// The only connection that writes; the next caller waits until the guard is dropped.
    pub(super) async fn writer(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, QueueError> {
        self.open_connection(self.inner.writer.lock().await)
    }

    /// Starts a write. Dropped without `commit`, it is rolled back.
    pub(super) async fn begin<'c>(
        &self,
        writer: &'c mut SqliteConnection,
    ) -> Result<Transaction<'c, Sqlite>, QueueError> {
        writer.begin_with("BEGIN IMMEDIATE").await.at(self)
    }

    /// A connection that reads: a free one, or the next in turn.
    pub(super) async fn reader(&self) -> Result<MappedMutexGuard<'_, SqliteConnection>, QueueError> {
        let readers = &self.inner.readers;
        let turn = self.inner.next_reader.fetch_add(1, Ordering::Relaxed);
        for offset in 0..READERS {
            if let Ok(guard) = readers[turn.wrapping_add(offset) % READERS].try_lock() {
                return self.open_connection(guard);
            }
        }
        self.open_connection(readers[turn % READERS].lock().await)
    }

    fn open_connection<'s>(
        &'s self,
        guard: MutexGuard<'s, Option<SqliteConnection>>,
    ) -> Result<MappedMutexGuard<'s, SqliteConnection>, QueueError> {
        MutexGuard::try_map(guard, Option::as_mut).map_err(|_| QueueError::Closed {
            path: self.inner.path.clone(),
        })
    }
}

/// Turns what sqlx says into what the ledger says.
pub(super) trait At<T> {
    /// The same result, with the database's path in the error.
    fn at(self, store: &Store) -> Result<T, QueueError>;
}

impl<T> At<T> for Result<T, sqlx::Error> {
    fn at(self, store: &Store) -> Result<T, QueueError> {
        self.map_err(|error| {
            if super::error::is_damage(&error) {
                store.note_damage();
            }
            QueueError::from_sqlx(&store.inner.path, error)
        })
    }
}

/// Creates the state directory where missing and refuses one whose locks cannot be trusted.
///
/// # Errors
/// Those of the system; [`QueueError::NetworkFilesystem`].
pub fn prepare_state_dir(state_dir: &Path) -> Result<(), QueueError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(state_dir)
        .map_err(|error| io_error("create", state_dir, error))?;
    let stat = rustix::fs::statfs(state_dir).map_err(|errno| io_error("open", state_dir, errno.into()))?;
    match network_filesystem(stat.f_type as u64 & 0xffff_ffff) {
        Some(kind) => Err(QueueError::NetworkFilesystem {
            state_dir: state_dir.to_owned(),
            kind,
        }),
        None => Ok(()),
    }
}

/// The name of a network file system by its `statfs` magic number. FUSE is let through: mergerfs, ntfs-3g and
/// Unraid's shares are local, and their locks work.
fn network_filesystem(magic: u64) -> Option<&'static str> {
    Some(match magic {
        0x6969 => "nfs",
        0x517B => "smb",
        0xFF53_4D42 => "cifs",
        0xFE53_4D42 => "smb2",
        0x0102_1997 => "9p",
        0x5346_414F => "afs",
        0x00C3_6400 => "ceph",
        _ => return None,
    })
}

async fn lock_directory(state_dir: &Path) -> Result<File, QueueError> {
    let dir = state_dir.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        let file = File::open(dir)?;
        file.lock()?;
        Ok(file)
    })
    .await;
    locked
        .unwrap_or_else(|panic| Err(io::Error::other(panic)))
        .map_err(|error| io_error("lock", state_dir, error))
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        // FULL, not the usual NORMAL of WAL mode: a recorded `done` must outlive a power cut, since the
        // source may be deleted right after it (I5).
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging()
}

async fn connect(path: &Path, options: SqliteConnectOptions) -> Result<SqliteConnection, QueueError> {
    options
        .connect()
        .await
        .map_err(|error| QueueError::from_sqlx(path, error))
}

/// A close that fails leaves its log behind, and the next open reads it: nothing is lost, nobody need know.
async fn close(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::debug!(%error, "a connection to the ledger did not close cleanly");
    }
}

async fn migrate(path: &Path, writer: &mut SqliteConnection) -> Result<(), QueueError> {
    let (found, known) = (schema_version(path, writer).await?.unwrap_or(0), newest_schema());
    if found > known {
        let path = path.to_owned();
        return Err(QueueError::TooNew { path, found, known });
    }
    if found == 0 {
        refuse_foreign(path, writer).await?;
    }
    if found > 0 && found < known {
        aside::copy_before(path, writer, known).await?;
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode = WAL")
        .fetch_one(&mut *writer)
        .await
        .map_err(|error| QueueError::from_sqlx(path, error))?;
    if journal != "wal" {
        return Err(QueueError::NetworkFilesystem {
            state_dir: path.parent().unwrap_or(path).to_owned(),
            kind: "no shared memory",
        });
    }
    MIGRATIONS.run(writer).await.map_err(|error| match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => {
            QueueError::from_sqlx(path, error)
        }
        // A schema that some other build made: nothing is damaged.
        other => QueueError::Foreign {
            path: path.to_owned(),
            detail: crate::error::one_line(&other.to_string()),
        },
    })
}

/// Reads the whole database, without opening it as a ledger.
pub(super) async fn quick_check(path: &Path) -> Result<(), QueueError> {
    let mut connection = connect(path, options(path).read_only(true)).await?;
    let checked = check_pages(path, &mut connection).await;
    close(connection).await;
    checked
}

async fn check_pages(path: &Path, connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let verdict: String = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_one(connection)
        .await
        .map_err(|error| QueueError::from_sqlx(path, error))?;
    if verdict == "ok" {
        return Ok(());
    }
    Err(QueueError::Corrupt {
        path: path.to_owned(),
        detail: crate::error::one_line(&verdict),
    })
}

/// The newest schema that this version knows.
fn newest_schema() -> i64 {
    MIGRATIONS
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

/// The database's schema; `None` for one without tables of ours.
async fn schema_version(path: &Path, connection: &mut SqliteConnection) -> Result<Option<i64>, QueueError> {
    let read = async {
        let ours: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '_sqlx_migrations')")
                .fetch_one(&mut *connection)
                .await?;
        if !ours {
            return Ok(None);
        }
        sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations")
            .fetch_one(&mut *connection)
            .await
    };
    read.await.map_err(|error| QueueError::from_sqlx(path, error))
}

/// Another program's database is not one to add our tables to.
async fn refuse_foreign(path: &Path, connection: &mut SqliteConnection) -> Result<(), QueueError> {
    let foreign: Option<String> = sqlx::query_scalar(
        "SELECT name FROM sqlite_schema
         WHERE type = 'table' AND name <> '_sqlx_migrations' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 1",
    )
    .fetch_optional(connection)
    .await
    .map_err(|error| QueueError::from_sqlx(path, error))?;
    match foreign {
        Some(table) => Err(QueueError::Foreign {
            path: path.to_owned(),
            detail: crate::error::one_line(&format!("it belongs to another program: table `{table}`")),
        }),
        None => Ok(()),
    }
}

pub(super) fn io_error(what: &'static str, path: &Path, error: io::Error) -> QueueError {
    QueueError::Io {
        what,
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones() {
        assert_eq!(network_filesystem(0x6969), Some("nfs"));
        assert_eq!(network_filesystem(0xFF53_4D42), Some("cifs"));
        for local in [0xEF53, 0x0102_1994, 0x5846_5342, 0x9123_683E, 0x6573_5546] {
            assert_eq!(network_filesystem(local), None);
        }
    }
}
