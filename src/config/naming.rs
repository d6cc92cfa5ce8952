//! Owns which extension a result has: the one planned before its source is opened, and the one of what was
//! really written. Pure.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::{Format, NameError, Recipe, Scale};

impl Format {
    /// The format that a file name's extension (without its dot) names, in any case; `None` for one that is
    /// not written. Never [`Format::Same`].
    pub fn from_extension(ext: &OsStr) -> Option<Self> {
        let ext = ext.to_str()?.to_ascii_lowercase();
        Some(match ext.as_str() {
            "jpg" | "jpeg" | "jpe" | "jfif" => Self::Jpeg,
            "png" => Self::Png,
            "webp" => Self::Webp,
            "tif" | "tiff" => Self::Tiff,
            "avif" => Self::Avif,
            "jxl" => Self::Jxl,
            _ => return None,
        })
    }
}

/// Where the result of `source` (its path below the input folder) shall lie below the output folder.
/// Known before the file is opened, so the format is the one that the name promises: what the content asks
/// for in the end is put right by [`with_actual_format`]. `own_scale` is the model's, for a recipe that asks for it.
///
/// # Errors
/// Those of [`super::NameTemplate::render`].
pub fn planned_output(recipe: &Recipe, source: &Path, own_scale: &str) -> Result<PathBuf, NameError> {
    let scale = match recipe.scale {
        Scale::Times(times) => &times.to_string(),
        Scale::Model => own_scale,
    };
    let own = source.extension().unwrap_or_default();
    let own_format = Format::from_extension(own);
    let ext = match recipe.format {
        Format::Same if own_format.is_some() => own,
        // The source's spelling stays where it already names the format: `.JPG` does not become `.jpg`.
        format if own_format == Some(format) => own,
        Format::Same if is_lossy(own) => OsStr::new("jpg"),
        Format::Same | Format::Png => OsStr::new("png"),
        Format::Jpeg => OsStr::new("jpg"),
        Format::Webp => OsStr::new("webp"),
        Format::Tiff => OsStr::new("tif"),
        Format::Avif => OsStr::new("avif"),
        Format::Jxl => OsStr::new("jxl"),
    };
    recipe.name_template.render(source, scale, ext)
}

/// Extensions of lossy formats that are read but not written.
fn is_lossy(ext: &OsStr) -> bool {
    ["heic", "heif", "hif"]
        .into_iter()
        .any(|lossy| ext.eq_ignore_ascii_case(lossy))
}

/// `planned` with the extension of the format that was really written: `format_ext` takes the place of an
/// extension that is none of `accepted` (in any case). A PNG that was called `.jpg` by its owner does not
/// give a PNG called `.jpg`.
pub fn with_actual_format(planned: &Path, format_ext: &str, accepted: &[&str]) -> PathBuf {
    let named = planned
        .extension()
        .is_some_and(|ext| accepted.iter().any(|accepted| ext.eq_ignore_ascii_case(accepted)));
    if named {
        return planned.to_path_buf();
    }
    planned.with_extension(format_ext)
}
