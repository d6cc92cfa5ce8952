//! Owns what a scan asks of the ledger: which files it has as they are, in a form of which a million fits into
//! memory. Never writes.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::error::QueueError;
use super::job::Digest;
use super::store::{At, Store};
use crate::fs::FileIdentity;

/// Rows read at once. Between two pages the connection is free for others, and no more than a page is in memory.
const PAGE_ROWS: u32 = 4096;

/// The files of a folder that the ledger has, each with its identity: 16 bytes a file.
///
/// A file is its *mark*, half of the BLAKE3 of path and identity: with 128 bits two of them are never the same by
/// accident, and nobody can make it so, which matters, since a file that is taken for known is never read.
#[derive(Debug, Default)]
pub struct KnownFiles {
    /// Sorted.
    marks: Vec<u128>,
}

impl KnownFiles {
    /// Whether the ledger has the file at that path below the input folder as it is now.
    pub fn contains(&self, source: &Path, identity: &FileIdentity) -> bool {
        let mark = mark(source.as_os_str().as_bytes(), identity);
        self.marks.binary_search(&mark).is_ok()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.marks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.marks.is_empty()
    }
}

/// The identity first: it has one length, so that no path can be mistaken for a part of it.
fn mark(source: &[u8], identity: &FileIdentity) -> u128 {
    let FileIdentity {
        dev,
        ino,
        size,
        mtime_ns,
        ctime_ns,
    } = *identity;
    let mut hasher = blake3::Hasher::new();
    for number in [dev, ino, size, mtime_ns.cast_unsigned(), ctime_ns.cast_unsigned()] {
        hasher.update(&number.to_le_bytes());
    }
    hasher.update(source);
    let hash = hasher.finalize();
    let half = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    u128::from_le_bytes(half)
}

/// Path and identity as they are stored.
type Row = (Vec<u8>, i64, i64, i64, i64, i64);

impl Store {
    /// The files of a folder that need not be read: admitted with this recipe, and not withdrawn since. What is
    /// admitted while this is read may be missing from it; [`Store::known`] knows better.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn known_files(&self, folder: &str, recipe: &Digest) -> Result<KnownFiles, QueueError> {
        let mut marks = Vec::new();
        let mut last = Vec::new();
        loop {
            let page = self.known_page(folder, recipe, &last).await?;
            let Some((source, ..)) = page.last() else { break };
            last.clone_from(source);
            let of_row = |(source, dev, ino, size, mtime_ns, ctime_ns): &Row| {
                let identity = FileIdentity {
                    dev: dev.cast_unsigned(),
                    ino: ino.cast_unsigned(),
                    size: size.cast_unsigned(),
                    mtime_ns: *mtime_ns,
                    ctime_ns: *ctime_ns,
                };
                mark(source, &identity)
            };
            marks.extend(page.iter().map(of_row));
        }
        marks.sort_unstable();
        Ok(KnownFiles { marks })
    }

    /// The sources behind `last` in the order of their bytes.
    async fn known_page(&self, folder: &str, recipe: &Digest, last: &[u8]) -> Result<Vec<Row>, QueueError> {
        let mut reader = self.reader().await?;
        sqlx::query_as(
            "SELECT s.source, s.dev, s.ino, s.size, s.mtime_ns, s.ctime_ns
             FROM sources s CROSS JOIN jobs j ON j.id = s.job
             WHERE s.folder = ?1 AND s.source > ?2 AND j.recipe = ?3
             ORDER BY s.source LIMIT ?4",
        )
        .bind(folder)
        .bind(last)
        .bind(&recipe[..])
        .bind(PAGE_ROWS)
        .fetch_all(&mut *reader)
        .await
        .at(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_every_part_of_a_file_from_every_other() {
        let identity = FileIdentity {
            dev: 1,
            ino: 2,
            size: 3,
            mtime_ns: 4,
            ctime_ns: 5,
        };
        let mut marks = vec![
            mark(b"a", &identity),
            mark(b"a/b", &identity),
            mark(b"", &identity),
        ];
        for other in [
            FileIdentity { dev: 9, ..identity },
            FileIdentity { ino: 9, ..identity },
            FileIdentity { size: 9, ..identity },
            FileIdentity {
                mtime_ns: -9,
                ..identity
            },
            FileIdentity {
                ctime_ns: -9,
                ..identity
            },
            // Each of the others' values in another's place.
            FileIdentity {
                dev: 2,
                ino: 1,
                ..identity
            },
        ] {
            marks.push(mark(b"a", &other));
        }
        let all = marks.len();
        marks.sort_unstable();
        marks.dedup();
        assert_eq!(marks.len(), all);
    }
}
