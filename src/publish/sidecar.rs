//! Owns the sidecars of results: their names, and whose they are. Never reads what is in one and never replaces one
//! that a person wrote or changed.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::Publisher;
use super::commit::kind_at;
use super::error::{PublishError, shown};
use super::recover::open_regular;

/// Most bytes of a sidecar. Editors write some kilobytes; a history of brush strokes has a few hundred.
const SIDECAR_BYTES_MAX: u64 = 16 << 20;

/// Extensions in use; on some file systems they are the same.
const EXTENSIONS: [&str; 2] = ["xmp", "XMP"];

/// Before the digest of everything before it, in a comment at the very end.
const MARK: &str = "<!-- written by upscaled, blake3 ";
const MARK_END: &str = " -->\n";

/// A sidecar of a source, and where the result's belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sidecar {
    /// Of the source.
    pub source: PathBuf,
    /// Of the result, below no folder in particular: beside it.
    pub result: PathBuf,
}

/// The sidecars that lie beside a source, `a.xmp` and `a.jpg.xmp`, as they are called beside its result.
pub fn sidecars(source: &Path, result: &Path) -> Vec<Sidecar> {
    let instead = |path: &Path, extension: &str| path.with_extension(extension);
    let behind = |path: &Path, extension: &str| {
        let mut name = OsString::from(path);
        name.push(".");
        name.push(extension);
        PathBuf::from(name)
    };
    let ways: [fn(&Path, &str) -> PathBuf; 2] = [instead, behind];
    let mut found = Vec::new();
    for way in ways {
        let is_there = |extension: &&&str| {
            let kind = kind_at(&way(source, extension)).ok().flatten();
            kind.is_some_and(|kind| kind.is_file())
        };
        found.extend(EXTENSIONS.iter().find(is_there).map(|extension| Sidecar {
            source: way(source, extension),
            result: way(result, extension),
        }));
    }
    // A result beside its source may share its sidecar.
    found.retain(|sidecar| sidecar.source != sidecar.result);
    found
}

/// A sidecar's bytes. Links are not followed, and a FIFO does not stall us.
///
/// # Errors
/// Those of the system; [`io::ErrorKind::FileTooLarge`].
pub fn read_sidecar(path: &Path) -> io::Result<Vec<u8>> {
    let file = open_regular(path)?.ok_or(io::ErrorKind::NotFound)?;
    let mut bytes = Vec::new();
    file.take(SIDECAR_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SIDECAR_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

impl Publisher {
    /// Gives a result's sidecar its name, as a result gets one: staged, synced, renamed (I4). One that is there is
    /// replaced only if this program wrote it and nobody has changed it since.
    ///
    /// # Errors
    /// [`PublishError::Taken`] by somebody else's file; as [`Publisher::stage`] and [`Publisher::commit`].
    pub fn publish_sidecar(
        &self,
        root: &Path,
        path: &Path,
        token: &str,
        content: &[u8],
    ) -> Result<(), PublishError> {
        let doing = || format!("write {}", shown(path));
        let failed = |error| PublishError::io(doing(), error);
        let content = marked(content);
        let replace = match kind_at(path).map_err(failed)? {
            None => false,
            Some(kind) if kind.is_file() => {
                let there = read_sidecar(path).map_err(failed)?;
                if there == content {
                    return Ok(());
                }
                if !is_untouched(&there) {
                    return Err(PublishError::Taken {
                        path: path.to_owned(),
                    });
                }
                true
            }
            Some(_) => {
                return Err(PublishError::Taken {
                    path: path.to_owned(),
                });
            }
        };
        let staged = self.stage(root, path, token)?;
        let written = staged.file().and_then(|mut file| file.write_all(&content));
        written.map_err(failed)?;
        let sealed = self.seal(staged)?;
        self.commit(&sealed, path, replace)?;
        Ok(())
    }
}

/// The content, and a mark that tells whether anybody changed it.
fn marked(content: &[u8]) -> Vec<u8> {
    let mut marked = content.to_vec();
    if marked.last() != Some(&b'\n') {
        marked.push(b'\n');
    }
    let mark = mark(&marked);
    marked.extend(mark.as_bytes());
    marked
}

fn mark(content: &[u8]) -> String {
    format!("{MARK}{}{MARK_END}", blake3::hash(content).to_hex())
}

/// Whether this program wrote these bytes, all of them.
fn is_untouched(bytes: &[u8]) -> bool {
    let length = MARK.len() + blake3::OUT_LEN * 2 + MARK_END.len();
    let Some(at) = bytes.len().checked_sub(length) else {
        return false;
    };
    let (content, end) = bytes.split_at(at);
    end == mark(content).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFilesystem;
    use crate::publish::Instance;

    fn publisher() -> Publisher {
        Publisher::new(RealFilesystem::shared(), Instance::of_command())
    }

    #[test]
    fn sidecars_are_found_in_both_ways_and_sizes_and_named_like_the_result() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(sidecars(&at("a.jpg"), &at("out/a_4x.png")), []);
        std::fs::write(at("a.XMP"), "").unwrap();
        std::fs::write(at("a.jpg.xmp"), "").unwrap();
        std::os::unix::fs::symlink(at("a.XMP"), at("b.xmp")).unwrap();
        let found = sidecars(&at("a.jpg"), &at("out/a_4x.png"));
        let results: Vec<_> = found.iter().map(|sidecar| sidecar.result.clone()).collect();
        assert_eq!(results, [at("out/a_4x.XMP"), at("out/a_4x.png.xmp")]);
        assert_eq!(
            sidecars(&at("a.jpg"), &at("a.webp")).len(),
            1,
            "a.XMP is the result's too"
        );
        assert_eq!(
            sidecars(&at("b.jpg"), &at("b_4x.jpg")),
            [],
            "links are not followed"
        );
    }

    #[test]
    fn ours_is_replaced_and_what_somebody_wrote_or_changed_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a_4x.xmp");
        let publish = |content: &[u8]| publisher().publish_sidecar(dir.path(), &path, "1-x", content);
        publish(b"<one/>").unwrap();
        publish(b"<one/>").unwrap();
        publish(b"<two/>").unwrap();
        let ours = std::fs::read(&path).unwrap();
        assert!(ours.starts_with(b"<two/>\n<!-- "));
        let mut changed = ours.clone();
        changed[1] = b'T';
        for theirs in [&b"<x/>"[..], b"", &changed] {
            std::fs::write(&path, theirs).unwrap();
            assert!(matches!(publish(b"<three/>"), Err(PublishError::Taken { .. })));
            assert_eq!(std::fs::read(&path).unwrap(), theirs);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert!(matches!(publish(b"<three/>"), Err(PublishError::Taken { .. })));
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "nothing is left behind"
        );
    }
}
