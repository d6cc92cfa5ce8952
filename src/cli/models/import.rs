//! Owns `upscaled models import`: from files of weights to models with names. Never decides what a network is.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::super::args::ImportArgs;
use super::super::exit::{Exit, Failure};
use super::super::out::{Out, bytes, complain};
use crate::error::{one_line, plain};
use crate::inference::catalogue::{Brought, check_name};
use crate::inference::onnx::{self, Adapt};
use crate::inference::{Catalogue, ModelCard, ModelError};
use crate::models::{Converted, HEAD_BYTES, Kind, convert};

/// Largest file of weights. ONNX ends at 2 GiB, and nothing that upscales comes near.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// What `--json` prints of each file.
#[derive(Debug, Serialize)]
struct Document {
    file: String,
    network: Option<String>,
    path: String,
    was_there: bool,
    card: ModelCard,
}

/// A file of weights that was brought.
struct Imported {
    brought: Brought,
    network: Option<String>,
}

/// Imports file by file; one that cannot be imported does not keep the others from it.
pub fn import(out: &mut Out, catalogue: &Catalogue, args: &ImportArgs) -> Result<Exit, Failure> {
    if args.name.is_some() && args.files.len() > 1 {
        return Err(Failure::usage(
            "--name names one model, and there are several files; import them one by one, or leave --name out",
        ));
    }
    let mut documents = Vec::new();
    let mut failures = Vec::new();
    for file in &args.files {
        match import_one(catalogue, args, file) {
            Ok(imported) => {
                if !args.json.json {
                    tell(out, file, &imported)?;
                }
                documents.push(document(file, imported));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if args.json.json {
        out.json(&documents)?;
        out.flush()?;
    }
    let done = !documents.is_empty();
    match failures.len() {
        0 => Ok(Exit::Done),
        1 if !done => failures.pop().map_or(Ok(Exit::Done), Err),
        _ => {
            for failure in &failures {
                complain(failure);
            }
            let first = failures.iter().find_map(|failure| match failure {
                Failure::Told { exit, .. } => Some(*exit),
                Failure::Unread => None,
            });
            Ok(if done {
                Exit::Failed
            } else {
                first.unwrap_or(Exit::Failed)
            })
        }
    }
}

fn import_one(catalogue: &Catalogue, args: &ImportArgs, path: &Path) -> Result<Imported, Failure> {
    let (kind, file) = of_which_kind(path)?;
    let name = match &args.name {
        Some(name) => name.clone(),
        None => one_line(&file.file_stem().unwrap_or_default().to_string_lossy()),
    };
    check_name(&name).map_err(|why| {
        let shown = one_line(&path.to_string_lossy());
        Failure::usage(format!(
            "cannot import {shown}: {name:?} is no name of a model, {why}; give one with --name"
        ))
    })?;
    let Converted { onnx, network } = read(kind, &file)?;
    let onnx = finish(&file, onnx, args, network.as_deref()).map_err(|why| refused(path, &why))?;
    let brought = catalogue.bring(&name, &onnx).map_err(|error| match error {
        ModelError::Unusable { why, .. } => refused(path, &why),
        other => other.into(),
    })?;
    Ok(Imported { brought, network })
}

/// What the file is. ncnn's weights stand for the text beside them.
fn of_which_kind(path: &Path) -> Result<(Kind, PathBuf), Failure> {
    let extension = path.extension().and_then(|extension| extension.to_str());
    let text = path.with_extension("param");
    if extension.is_some_and(|extension| extension.eq_ignore_ascii_case("bin")) && text.is_file() {
        return Ok((Kind::Ncnn, text));
    }
    let mut head = Vec::with_capacity(HEAD_BYTES);
    regular(path)?
        .take(HEAD_BYTES as u64)
        .read_to_end(&mut head)
        .map_err(|error| unreadable(path, &plain(&error)))?;
    Ok((Kind::of(extension, &head), path.to_owned()))
}

fn read(kind: Kind, path: &Path) -> Result<Converted, Failure> {
    let bytes = whole(path)?;
    let beside = match kind {
        Kind::Ncnn => Some(whole(&path.with_extension("bin"))?),
        Kind::Onnx | Kind::Torch | Kind::Safetensors => None,
    };
    convert(kind, bytes, beside).map_err(|error| refused(path, &error.to_string()))
}

/// In one piece, with an interface that is fed here, and with what is told about it.
fn finish(path: &Path, onnx: Vec<u8>, args: &ImportArgs, network: Option<&str>) -> Result<Vec<u8>, String> {
    let directory = path.canonicalize().ok();
    let directory = directory.as_deref().and_then(Path::parent);
    let embedded = match directory {
        Some(directory) => onnx::embed(&onnx, directory),
        None => Ok(onnx),
    };
    let wishes = Adapt { bgr: args.bgr };
    let mut facts: Vec<(&str, &str)> = Vec::new();
    facts.extend(network.map(|network| ("network", network)));
    facts.extend(args.licence.as_deref().map(|licence| ("license", licence)));
    facts.extend(args.source.as_deref().map(|source| ("source", source)));
    embedded
        .and_then(|onnx| onnx::adapt(&onnx, &wishes))
        .and_then(|onnx| onnx::note(&onnx, &facts))
        .map_err(|error| error.to_string())
}

fn tell(out: &mut Out, file: &Path, imported: &Imported) -> Result<(), Failure> {
    let Brought {
        card,
        path,
        was_there,
    } = &imported.brought;
    let network = match &imported.network {
        // Tensors tell the scale, layers do not.
        Some(network) if network.contains('×') => network.clone(),
        Some(network) => format!("{network}, ×{}", card.scale),
        None => format!("×{}", card.scale),
    };
    let done = if *was_there {
        "is there already"
    } else {
        "imported"
    };
    out.line(format_args!(
        "{}: {done} as {} ({network}, {}), in {}",
        one_line(&file.to_string_lossy()),
        card.name,
        bytes(card.weights_bytes),
        path.display()
    ))?;
    out.flush()
}

fn document(file: &Path, imported: Imported) -> Document {
    let Brought {
        card,
        path,
        was_there,
    } = imported.brought;
    Document {
        file: file.to_string_lossy().into_owned(),
        network: imported.network,
        path: path.to_string_lossy().into_owned(),
        was_there,
        card,
    }
}

/// The bytes of a file that is no larger than a model can be.
fn whole(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = regular(path)?;
    let len = file.metadata().map_or(0, |meta| meta.len());
    if len > FILE_BYTES_MAX {
        return Err(refused(path, "it is larger than 2 GiB"));
    }
    let mut content = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.take(FILE_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(|error| unreadable(path, &plain(&error)))?;
    Ok(content)
}

/// A FIFO would never end, and opening one would wait for its writer.
fn regular(path: &Path) -> Result<File, Failure> {
    let meta = path
        .metadata()
        .map_err(|error| unreadable(path, &plain(&error)))?;
    if !meta.is_file() {
        return Err(unreadable(path, "it is not a regular file"));
    }
    File::open(path).map_err(|error| unreadable(path, &plain(&error)))
}

fn unreadable(path: &Path, why: &str) -> Failure {
    let shown = one_line(&path.to_string_lossy());
    Failure::new(Exit::Io, format!("cannot read {shown}: {why}; check the path"))
}

fn refused(path: &Path, why: &str) -> Failure {
    let shown = one_line(&path.to_string_lossy());
    let next = "`upscaled models import --help` tells what can be imported";
    Failure::new(Exit::Unavailable, format!("cannot import {shown}: {why}; {next}"))
}
