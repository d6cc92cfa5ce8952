//! Owns the questions to a folder's surroundings: is the input there, can the output be written, is there room.
//! Never touches a picture; what it finds wrong blocks the folder and charges no job.

use std::io;
use std::path::Path;

use crate::config::Folder;
use crate::error::{Fault, ReasonCode};
use crate::fs::{Filesystem, RealFilesystem};

/// The name of the file with which writing is tried. Hidden, and swept like every leftover of ours.
const PROBE_NAME: &str = ".upscaled-probe.tmp";

/// Creates a missing output folder, if the folder that holds it is there. More is not created: the missing part
/// may be a disk that is not mounted yet, and results would land below its mount point.
///
/// # Errors
/// A block.
pub fn prepare_output(folder: &Folder) -> Result<(), Fault> {
    match RealFilesystem.create_dir(&folder.output) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Ok(()) => Ok(()),
        Err(error) => Err(Fault::from_write(
            format_args!("cannot create the output folder {}", folder.output.display()),
            &error,
        )),
    }
}

/// Whether a job of this folder can be begun: input and output folders are there, and so is `min_free_bytes`.
///
/// # Errors
/// A block.
pub fn check(fs: &dyn Filesystem, folder: &Folder, min_free_bytes: u64) -> Result<(), Fault> {
    is_directory("input", &folder.input)?;
    output_is_there(folder)?;
    let free = fs.free_bytes(&folder.output).map_err(|error| {
        Fault::from_write(
            format_args!("cannot use the output folder {}", folder.output.display()),
            &error,
        )
    })?;
    if free < min_free_bytes {
        return Err(Fault::block(
            ReasonCode::Io,
            format!(
                "cannot write to {}: {} free, min_free is {}; the queue waits until there is space again",
                folder.output.display(),
                bytesize::ByteSize(free),
                bytesize::ByteSize(min_free_bytes)
            ),
        ));
    }
    Ok(())
}

/// Whether there is an output folder.
///
/// # Errors
/// A block.
pub fn output_is_there(folder: &Folder) -> Result<(), Fault> {
    is_directory("output", &folder.output)
}

/// Whether a file can be created in the output folder. Tried only where something went wrong before.
///
/// # Errors
/// A block.
pub fn try_writing(fs: &dyn Filesystem, folder: &Folder) -> Result<(), Fault> {
    let path = folder.output.join(PROBE_NAME);
    let tried = match fs.create_new(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other.map(drop),
    };
    tried.and_then(|()| fs.remove_file(&path)).map_err(|error| {
        Fault::from_write(
            format_args!("cannot write to {}", folder.output.display()),
            &error,
        )
    })
}

fn is_directory(which: &str, path: &Path) -> Result<(), Fault> {
    let blocked = |why: &str| {
        let text = format!(
            "the {which} folder {} {why}; the queue waits until it is there",
            path.display()
        );
        Fault::block(ReasonCode::Io, text)
    };
    match path.metadata() {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(blocked("is not a folder")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(blocked("is missing")),
        Err(error) => Err(blocked(&format!(
            "cannot be read ({})",
            crate::error::plain(&error)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Disposition;

    fn folder(root: &Path) -> Folder {
        let text = "[[folder]]\nname = \"a\"\ninput = \"in\"\noutput = \"out\"\n";
        let config = crate::config::Config::parse(text, &root.join("c.toml")).unwrap();
        config.folders[0].clone()
    }

    #[test]
    fn a_missing_folder_and_a_full_disk_block_and_charge_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(dir.path());
        let missing = check(&RealFilesystem, &folder, 0).unwrap_err();
        assert_eq!(missing.disposition, Disposition::Block);
        assert!(missing.reason.message.contains("input folder"), "{missing}");
        std::fs::create_dir(&folder.input).unwrap();
        prepare_output(&folder).unwrap();
        check(&RealFilesystem, &folder, 0).unwrap();
        try_writing(&RealFilesystem, &folder).unwrap();
        let full = check(&RealFilesystem, &folder, u64::MAX).unwrap_err();
        assert_eq!(full.disposition, Disposition::Block);
        assert!(full.reason.message.contains("min_free"), "{full}");
    }

    #[test]
    fn an_output_below_a_missing_mount_point_is_not_created() {
        let dir = tempfile::tempdir().unwrap();
        let folder = folder(&dir.path().join("mnt"));
        assert_eq!(
            prepare_output(&folder).unwrap_err().disposition,
            Disposition::Block
        );
        assert!(!dir.path().join("mnt").exists());
    }
}
