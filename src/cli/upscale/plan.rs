//! Owns where each result goes and whether it may, known before any work: a command that cannot succeed says so
//! at once. Reads headers, writes nothing but the output directory.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::super::args::UpscaleArgs;
use super::super::exit::{Exit, Failure};
use super::super::out::shown;
use super::words;
use crate::codec::{self, DecodeLimits, ImageHeader, ResultFormat};
use crate::config::{Format, Recipe, Word, planned_output, with_actual_format};
use crate::error::{Fault, ReasonCode, plain};
use crate::fs::{Filesystem, RealFilesystem};
use crate::inference::card::ModelCard;
use crate::report::InputFacts;

/// Where results go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// Beside each input, by the default template.
    Beside,
    /// Into this directory, by the default template.
    Directory(PathBuf),
    /// To this file: one input.
    File(PathBuf),
}

/// What is to be done with one input.
#[derive(Debug)]
pub enum Step {
    /// Upscale it.
    Render(Box<Planned>),
    /// Tell why not.
    Refuse(Box<Refused>),
}

/// An input that can be upscaled, as far as its header and the places tell.
#[derive(Debug)]
pub struct Planned {
    /// As it was typed.
    pub source: PathBuf,
    /// From the header.
    pub input: InputFacts,
    /// The result as a person reads it.
    pub result: PathBuf,
    /// The same, absolute.
    pub final_path: PathBuf,
}

/// An input that cannot be upscaled.
#[derive(Debug)]
pub struct Refused {
    /// As it was typed.
    pub source: PathBuf,
    /// From the header, if that could be read.
    pub input: Option<InputFacts>,
    /// Why.
    pub fault: Fault,
}

/// What `-o` means.
pub fn destination(args: &UpscaleArgs) -> Result<Destination, Failure> {
    let Some(out) = &args.output else {
        return Ok(Destination::Beside);
    };
    let several = args.inputs.len() > 1;
    let ends_like_a_directory = out.as_os_str().as_bytes().ends_with(b"/");
    if !several && !ends_like_a_directory && !out.is_dir() {
        return Ok(Destination::File(out.clone()));
    }
    if out.exists() && !out.is_dir() {
        let next = "name a directory";
        return Err(Failure::usage(format!(
            "-o {} is a file and cannot take several results; {next}",
            shown(out)
        )));
    }
    Ok(Destination::Directory(out.clone()))
}

/// The format of the results: the one that was asked for, or that OUT's extension names.
pub fn format(args: &UpscaleArgs, destination: &Destination) -> Result<Format, Failure> {
    let asked = args.format.filter(|format| *format != Format::Same);
    let Destination::File(out) = destination else {
        return Ok(asked.unwrap_or(Format::Same));
    };
    let named = out.extension().and_then(Format::from_extension);
    match (asked, named) {
        (Some(asked), Some(named)) if asked != named => Err(Failure::usage(format!(
            "-o {} names {}, --format says {}; make them agree or leave --format out",
            shown(out),
            named.word(),
            asked.word()
        ))),
        (Some(asked), _) => Ok(asked),
        (None, Some(named)) => Ok(named),
        (None, None) => Err(Failure::usage(format!(
            "-o {}: its extension names no format that can be written; use .jpg, .png, .webp, .tif, .avif or .jxl, end it with / \
             for a directory, or say --format",
            shown(out)
        ))),
    }
}

/// What is to be done with each input.
///
/// # Errors
/// Wrong usage: two inputs with one result, or a result that would replace an input.
pub fn steps(
    args: &UpscaleArgs,
    recipe: &Recipe,
    card: &ModelCard,
    destination: &Destination,
) -> Result<Vec<Step>, Failure> {
    let inputs: HashSet<(u64, u64)> = args.inputs.iter().filter_map(|path| file_id(path)).collect();
    let mut sources_by_result: HashMap<PathBuf, &Path> = HashMap::new();
    let mut steps = Vec::with_capacity(args.inputs.len());
    for source in &args.inputs {
        let planned = match plan(source, recipe, card, destination) {
            Ok(planned) => planned,
            Err(refused) => {
                steps.push(Step::Refuse(refused));
                continue;
            }
        };
        if let Some(other) = sources_by_result.insert(resolved(&planned.final_path), source) {
            return Err(Failure::usage(format!(
                "{} and {} would both become {}; upscale them one by one with -o",
                shown(other),
                shown(source),
                shown(&planned.result)
            )));
        }
        let is_input = file_id(&planned.final_path).is_some_and(|id| inputs.contains(&id));
        if is_input && args.overwrite {
            let result = shown(&planned.result);
            return Err(Failure::usage(format!(
                "{result} is an input, which is never replaced; use another -o"
            )));
        }
        steps.push(match taken(&planned, is_input, args.overwrite) {
            None => Step::Render(planned),
            Some(why) => {
                let fault = Fault::quarantine(ReasonCode::Io, why);
                Step::Refuse(Box::new(Refused {
                    source: source.clone(),
                    input: Some(planned.input),
                    fault,
                }))
            }
        });
    }
    Ok(steps)
}

fn plan(
    source: &Path,
    recipe: &Recipe,
    card: &ModelCard,
    destination: &Destination,
) -> Result<Box<Planned>, Box<Refused>> {
    let refuse = |input, fault| {
        Box::new(Refused {
            source: source.to_owned(),
            input,
            fault,
        })
    };
    let header =
        codec::probe(source, &DecodeLimits::default()).map_err(|error| refuse(None, words::codec(error)))?;
    let input = header.facts();
    let result = result_path(source, &header, recipe, card, destination)
        .map_err(|fault| refuse(Some(input.clone()), fault))?;
    let final_path = std::path::absolute(&result).map_err(|error| {
        let message = format!(
            "cannot place {}: {}; name another -o",
            shown(&result),
            plain(&error)
        );
        refuse(Some(input.clone()), Fault::quarantine(ReasonCode::Io, message))
    })?;
    Ok(Box::new(Planned {
        source: source.to_owned(),
        input,
        result,
        final_path,
    }))
}

fn result_path(
    source: &Path,
    header: &ImageHeader,
    recipe: &Recipe,
    card: &ModelCard,
    destination: &Destination,
) -> Result<PathBuf, Fault> {
    let directory = match destination {
        Destination::File(out) => return named_for(out, codec::target_format(recipe, header), source),
        Destination::Directory(directory) => directory.as_path(),
        Destination::Beside => source.parent().unwrap_or(Path::new("")),
    };
    let name = Path::new(source.file_name().unwrap_or_default());
    let planned = planned_output(recipe, name, &card.scale.to_string())?;
    let extensions = codec::target_format(recipe, header).extensions();
    let usual = extensions.first().copied().unwrap_or_default();
    Ok(directory.join(with_actual_format(&planned, usual, extensions)))
}

/// A name that somebody chose, unless it names another format than an animation's frames will be in.
fn named_for(out: &Path, format: ResultFormat, source: &Path) -> Result<PathBuf, Fault> {
    let extension = out.extension().unwrap_or_default();
    let others = ResultFormat::ALL.iter().filter(|other| **other != format);
    let names_another = others
        .flat_map(|other| other.extensions())
        .any(|other| extension.eq_ignore_ascii_case(other));
    if names_another {
        let message = format!(
            "cannot upscale {}: it is an animation and becomes {}, which {} does not name; use another -o or --animation",
            shown(source),
            format.as_str(),
            shown(out)
        );
        return Err(Fault::quarantine(ReasonCode::Unsupported, message));
    }
    Ok(out.to_owned())
}

/// Why a result may not take its name, if so.
fn taken(planned: &Planned, is_input: bool, overwrite: bool) -> Option<String> {
    let result = shown(&planned.result);
    let meta = planned.final_path.symlink_metadata().ok()?;
    if is_input {
        return Some(format!("{result} is the input itself; use another -o"));
    }
    if !overwrite {
        return Some(format!(
            "{result} exists; use --overwrite to replace it, or another -o"
        ));
    }
    // A device, a FIFO, a link: replacing it would do something else than the word says.
    (!meta.is_file()).then(|| format!("{result} is not a regular file and is not replaced; use another -o"))
}

/// What tells whether two names are one file: links and upper and lower case included.
fn file_id(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The path with the links of its directory followed, so that two ways to one place are seen as one.
fn resolved(path: &Path) -> PathBuf {
    match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(directory)), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

/// Makes a missing output directory, durably: the results in it are.
pub fn make_directory(destination: &Destination) -> Result<(), Failure> {
    let Destination::Directory(directory) = destination else {
        return Ok(());
    };
    let failed = |error: std::io::Error| {
        let next = "name another with -o";
        Failure::new(
            Exit::Io,
            format!("cannot create {}: {}; {next}", shown(directory), plain(&error)),
        )
    };
    let absolute = std::path::absolute(directory).map_err(failed)?;
    let missing: Vec<&Path> = absolute.ancestors().take_while(|path| !path.exists()).collect();
    RealFilesystem.create_dir_all(&absolute).map_err(failed)?;
    for parent in missing.iter().filter_map(|path| path.parent()) {
        RealFilesystem.sync_dir(parent).map_err(failed)?;
    }
    Ok(())
}
