//! Owns the name of a result: the template that a person wrote, and the path below the output folder that it
//! gives for a source. Never touches a file; never lets a name leave the output folder or take one of ours.
//!
//! Names are bytes: a source whose name is not UTF-8 keeps every byte of it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Format;
use crate::error::{Fault, ReasonCode};

/// Longest name of one file or directory, bytes: what ext4, XFS, Btrfs and most shares allow.
const NAME_MAX_BYTES: usize = 255;

/// Longest name that we give a result, bytes. The rest up to the file system's limit is room for the number
/// of `on_conflict = "rename"` and for a longer extension ([`super::with_actual_format`]).
const FILE_MAX_BYTES: usize = NAME_MAX_BYTES - 12;

/// Longest fixed text in one component of a template, bytes: leaves a useful rest of the source's name.
const LITERAL_MAX_BYTES: usize = 128;

/// `~` and 8 hexadecimal digits, which take the place of what was cut from a long name.
const MARK_BYTES: usize = 9;

/// What stands between braces in a template, in the order in which messages list it.
const PLACEHOLDERS: &str = "{stem}, {scale}, {ext}, {rel}";

/// Names at the top of an output folder that are ours (CONTRACT §3). Compared without case, because an
/// output folder may lie on a share that ignores it.
const RESERVED: [&str; 2] = [".upscaled", "status.json"];

/// `name_template`, checked: no unknown placeholder, no way out of the output folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NameTemplate {
    /// As it was written.
    text: String,
    /// The directories below the output folder, outermost first.
    directories: Vec<Directory>,
    /// The file's name; ends in `.` and [`Part::Ext`].
    file: Vec<Part>,
    /// Whether the template places the tree itself, with `{rel}`.
    places_tree: bool,
}

/// One directory of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Directory {
    /// `{rel}`: no directory, one or many.
    Rel,
    /// One directory.
    Named(Vec<Part>),
}

/// A piece of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Stem,
    Scale,
    Ext,
}

/// Why a source has no name for its result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The path is empty, absolute, ends in `..` or climbs out of the input folder.
    #[error(
        "cannot name the result of {source_name}: it is not a file below the input folder; name a file inside it"
    )]
    NotBelow {
        /// The source.
        source_name: String,
    },
    /// The result would lie where our own files lie.
    #[error(
        "cannot name the result of {source_name}: \"{name}\" at the top of an output folder is upscaled's own; \
         rename the source's folder or change name_template"
    )]
    Reserved {
        /// The source.
        source_name: String,
        /// Our own name.
        name: &'static str,
    },
    /// No room for the source's name beside the fixed text.
    #[error(
        "cannot name the result of {source_name}: the name would be longer than 255 bytes; shorten name_template"
    )]
    TooLong {
        /// The source.
        source_name: String,
    },
}

impl From<NameError> for Fault {
    /// The name is the file's own: no later attempt gives it another.
    fn from(error: NameError) -> Self {
        Fault::quarantine(ReasonCode::Unsupported, error.to_string())
    }
}

impl Default for NameTemplate {
    fn default() -> Self {
        Self {
            text: "{stem}_{scale}x.{ext}".to_owned(),
            directories: Vec::new(),
            file: vec![
                Part::Stem,
                Part::Literal("_".to_owned()),
                Part::Scale,
                Part::Literal("x.".to_owned()),
                Part::Ext,
            ],
            places_tree: false,
        }
    }
}

impl TryFrom<String> for NameTemplate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<NameTemplate> for String {
    fn from(template: NameTemplate) -> Self {
        template.text
    }
}

impl std::fmt::Display for NameTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl NameTemplate {
    /// Reads and checks a template. A file name that does not end in `.{ext}` gets it: a result always says
    /// by its name what it is. An extension of a picture format written out (`{stem}.png`) is taken as
    /// `{ext}`, which is that format's when `format` asks for it.
    ///
    /// # Errors
    /// Why not, as one sentence without the key's name.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty; write for example \"{stem}_{scale}x.{ext}\"".to_owned());
        }
        if text.chars().any(char::is_control) {
            return Err("holds a control character; leave it out".to_owned());
        }
        if text.starts_with('/') {
            return Err("starts with \"/\"; a result always lies below the output folder".to_owned());
        }
        let (directories_text, file_text) = match text.rsplit_once('/') {
            Some((directories, file)) => (Some(directories), file),
            None => (None, text),
        };
        if file_text.is_empty() {
            return Err("ends with \"/\"; the last part is the file's name".to_owned());
        }
        let mut directories = Vec::new();
        for component in directories_text.into_iter().flat_map(|text| text.split('/')) {
            directories.push(if component == "{rel}" {
                Directory::Rel
            } else {
                Directory::Named(parse_component(component)?)
            });
        }
        if file_text == "{rel}" {
            return Err(
                "ends with {rel}, which is a directory; write \"{rel}/{stem}_{scale}x.{ext}\"".to_owned(),
            );
        }
        let file = with_extension(parse_component(file_text)?);
        let rels = directories.iter().filter(|d| **d == Directory::Rel).count();
        if rels > 1 {
            return Err("holds {rel} twice; once places the whole tree".to_owned());
        }
        let first = text.split('/').next().unwrap_or(text);
        if let Some(name) = reserved(first.as_bytes()) {
            return Err(format!(
                "starts with \"{name}\", which is upscaled's own; choose another name"
            ));
        }
        let template = Self {
            text: text.to_owned(),
            directories,
            file,
            places_tree: rels == 1,
        };
        if !template.parts().any(|part| *part == Part::Stem) {
            return Err(
                "holds no {stem}, so that all results would have one name; write {stem} in it".to_owned(),
            );
        }
        Ok(template)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The result's path below the output folder. `source` is the source's path below the input folder,
    /// `scale` the factor as it shall be read (`4`, `1.5`), `ext` the extension without its dot.
    ///
    /// Without `{rel}` the result lies in the same sub-directory as its source. A name longer than a file
    /// system allows has its stem shortened and marked with `~` and 8 digits of the BLAKE3 of `source`.
    ///
    /// # Errors
    /// [`NameError`]: a source that is not below its folder, a name of ours, no room for a name.
    pub fn render(&self, source: &Path, scale: &str, ext: &OsStr) -> Result<PathBuf, NameError> {
        let tree = directories_of(source)?;
        let stem = match source.file_stem() {
            Some(stem) => stem.as_bytes(),
            None => return Err(not_below(source)),
        };
        let values = Values {
            source,
            stem,
            scale: scale.as_bytes(),
            ext: ext.as_bytes(),
        };
        let mut path = PathBuf::new();
        if !self.places_tree {
            path.extend(&tree);
        }
        for directory in &self.directories {
            match directory {
                Directory::Rel => path.extend(&tree),
                Directory::Named(parts) => path.push(values.component(parts, NAME_MAX_BYTES)?),
            }
        }
        path.push(values.component(&self.file, FILE_MAX_BYTES)?);
        check_result(source, &path)?;
        Ok(path)
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        self.directories
            .iter()
            .flat_map(|directory| match directory {
                Directory::Rel => [].as_slice(),
                Directory::Named(parts) => parts,
            })
            .chain(&self.file)
    }
}

/// What the placeholders stand for.
struct Values<'a> {
    source: &'a Path,
    stem: &'a [u8],
    scale: &'a [u8],
    ext: &'a [u8],
}

impl Values<'_> {
    /// One name of at most `max_bytes`, with its stem shortened where it would not fit.
    fn component(&self, parts: &[Part], max_bytes: usize) -> Result<OsString, NameError> {
        let stems = parts.iter().filter(|part| **part == Part::Stem).count();
        let fixed: usize = parts.iter().map(|part| self.fixed(part).len()).sum();
        let room = max_bytes
            .checked_sub(fixed)
            .map(|rest| rest.checked_div(stems).unwrap_or(rest))
            .filter(|room| stems == 0 || *room >= self.stem.len().min(MARK_BYTES + 1))
            .ok_or_else(|| NameError::TooLong {
                source_name: self.source.display().to_string(),
            })?;
        let stem = shortened(self.stem, room, self.source);
        let mut name = Vec::with_capacity(max_bytes);
        for part in parts {
            name.extend_from_slice(if *part == Part::Stem {
                &stem
            } else {
                self.fixed(part)
            });
        }
        Ok(OsString::from_vec(name))
    }

    /// The bytes of every part but the stem, which alone may be shortened.
    fn fixed<'a>(&'a self, part: &'a Part) -> &'a [u8] {
        match part {
            Part::Literal(text) => text.as_bytes(),
            Part::Scale => self.scale,
            Part::Ext => self.ext,
            Part::Stem => &[],
        }
    }
}

/// The stem, cut to `room` bytes. The mark keeps two long names apart that begin alike.
fn shortened(stem: &[u8], room: usize, source: &Path) -> Vec<u8> {
    if stem.len() <= room {
        return stem.to_vec();
    }
    let mut end = room.saturating_sub(MARK_BYTES);
    // Back to the start of a character; a run of continuation bytes longer than UTF-8's is no character.
    let start = (0..4)
        .map(|back| end.saturating_sub(back))
        .find(|at| !is_continuation(stem[*at]));
    end = start.unwrap_or(end);
    let digest = blake3::hash(source.as_os_str().as_bytes()).to_hex();
    let mut cut = stem[..end].to_vec();
    cut.push(b'~');
    cut.extend_from_slice(&digest.as_bytes()[..MARK_BYTES - 1]);
    cut
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// The directories of a path below the input folder.
fn directories_of(source: &Path) -> Result<PathBuf, NameError> {
    let mut directories = PathBuf::new();
    for component in source.parent().unwrap_or(Path::new("")).components() {
        match component {
            Component::Normal(name) => directories.push(name),
            Component::CurDir => {}
            _ => return Err(not_below(source)),
        }
    }
    Ok(directories)
}

fn not_below(source: &Path) -> NameError {
    NameError::NotBelow {
        source_name: source.display().to_string(),
    }
}

/// The promise of this module, checked on what is handed out.
fn check_result(source: &Path, result: &Path) -> Result<(), NameError> {
    for component in result.components() {
        match component {
            Component::Normal(name) if name.len() <= NAME_MAX_BYTES && !name.as_bytes().contains(&0) => {}
            Component::Normal(_) => {
                return Err(NameError::TooLong {
                    source_name: source.display().to_string(),
                });
            }
            _ => return Err(not_below(source)),
        }
    }
    let first = result.iter().next().unwrap_or_default();
    match reserved(first.as_bytes()) {
        Some(name) => Err(NameError::Reserved {
            source_name: source.display().to_string(),
            name,
        }),
        None => Ok(()),
    }
}

fn reserved(name: &[u8]) -> Option<&'static str> {
    RESERVED
        .into_iter()
        .find(|ours| name.eq_ignore_ascii_case(ours.as_bytes()))
}

/// One directory's or the file's name.
fn parse_component(text: &str) -> Result<Vec<Part>, String> {
    match text {
        "" => return Err("holds \"//\"; leave one \"/\" out".to_owned()),
        ".." => return Err("holds \"..\"; a result always lies below the output folder".to_owned()),
        "." => return Err("holds \"./\"; leave it out".to_owned()),
        _ => {}
    }
    if text.starts_with('.') && reserved(text.as_bytes()).is_none() {
        return Err(format!(
            "makes the hidden name \"{text}\"; leave the leading dot out"
        ));
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (literal, brace) = rest.split_at(at);
        let end = brace.find('}').filter(|end| *end > 0).ok_or_else(|| {
            format!("has a brace without its partner in \"{text}\"; known are {PLACEHOLDERS}")
        })?;
        if !literal.is_empty() {
            parts.push(Part::Literal(literal.to_owned()));
        }
        parts.push(match &brace[..=end] {
            "{stem}" => Part::Stem,
            "{scale}" => Part::Scale,
            "{ext}" => Part::Ext,
            "{rel}" => {
                return Err(format!(
                    "holds {{rel}} within \"{text}\"; it stands alone between slashes: {{rel}}/…"
                ));
            }
            other => {
                return Err(format!(
                    "holds the unknown placeholder {other}; known are {PLACEHOLDERS}"
                ));
            }
        });
        rest = &brace[end + 1..];
    }
    if !rest.is_empty() {
        parts.push(Part::Literal(rest.to_owned()));
    }
    let literals = parts.iter().map(|part| match part {
        Part::Literal(text) => text.len(),
        _ => 0,
    });
    if literals.sum::<usize>() > LITERAL_MAX_BYTES {
        return Err(format!(
            "has more than {LITERAL_MAX_BYTES} bytes of fixed text between two slashes; shorten it"
        ));
    }
    Ok(parts)
}

/// Lets a file's name end in `.{ext}`.
fn with_extension(mut parts: Vec<Part>) -> Vec<Part> {
    if let [.., Part::Literal(before), Part::Ext] = parts.as_slice()
        && before.ends_with('.')
    {
        return parts;
    }
    if let Some(Part::Literal(text)) = parts.last_mut()
        && let Some((before, ext)) = text.rsplit_once('.')
        && Format::from_extension(OsStr::new(ext)).is_some()
    {
        *text = before.to_owned();
    }
    parts.extend([Part::Literal(".".to_owned()), Part::Ext]);
    parts
}

#[cfg(test)]
mod tests;
