//! Owns `upscaled models`: what can upscale, whether it does so everywhere alike, and how fast.

mod import;
mod remove;
mod show;
mod tune;
mod verify;

use std::path::Path;

use super::args::{BuildEngineArgs, ExamineArgs, ModelsCommand};
use super::exit::{Exit, Failure};
use super::out::{Out, bytes, complain};
use crate::fs::RealFilesystem;
use crate::inference::catalogue::Listed;
use crate::inference::catalogue::apart::Answer;
use crate::inference::engine_builds::BuildOrder;
use crate::inference::profile_store::{kept_of, profile_dirs};
use crate::inference::{Catalogue, ModelCard, apart};

/// Lists the models, tells about one, or tries one.
pub fn models(named: Option<&Path>, command: ModelsCommand) -> Result<Exit, Failure> {
    let config = super::load_or_default(named)?;
    let catalogue = super::catalogue(&config);
    let mut out = Out::stdout();
    let exit = match command {
        ModelsCommand::List(json) => {
            list(&mut out, &catalogue.list(), json.json)?;
            Exit::Done
        }
        ModelsCommand::Show { model, json } => {
            let card = catalogue.card(&model)?;
            if json.json {
                out.json(&card)?;
            } else {
                show::card(&mut out, &card)?;
                let dirs = profile_dirs(catalogue.state_dirs());
                show::profiles(&mut out, &kept_of(&dirs, &card.sha256))?;
            }
            Exit::Done
        }
        ModelsCommand::Import(args) => import::import(&mut out, &catalogue, &args)?,
        ModelsCommand::Remove { models } => {
            remove::remove(&mut out, &config, &catalogue, &models)?;
            Exit::Done
        }
        ModelsCommand::Tune { model, json } => {
            tune::tune(&mut out, &config, &catalogue, &model, json.json)?;
            Exit::Done
        }
        ModelsCommand::Verify { model, json } => {
            verify::verify(&mut out, &config, &catalogue, &model, json.json)?
        }
    };
    out.flush()?;
    Ok(exit)
}

/// Examines a file for another process of this program.
pub fn examine(args: ExamineArgs) -> Result<Exit, Failure> {
    let catalogue = Catalogue::new(args.state_dir, args.library, RealFilesystem::shared());
    let mut out = Out::stdout();
    out.json(&Answer::from(catalogue.card_at(&args.file)))?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Builds TensorRT's engine for another process of this program.
pub fn build_engine(args: BuildEngineArgs) -> Result<Exit, Failure> {
    apart::end_with_who_asked();
    let order = BuildOrder {
        model: args.model,
        library: args.library,
        state_dirs: args.state_dir,
        engines_dir: args.engines_dir,
        device_id: args.device_id,
        device_bytes: args.device_bytes,
        precision: args.precision,
    };
    let mut out = Out::stdout();
    out.json(&order.carry_out())?;
    out.flush()?;
    Ok(Exit::Done)
}

/// Files that cannot be used, or not by their name, are told with the reason. With `json` on stderr: the document is an
/// array of cards.
fn list(out: &mut Out, listed: &[Listed], json: bool) -> Result<(), Failure> {
    let usable: Vec<&ModelCard> = listed
        .iter()
        .filter(|model| model.hidden_by.is_none())
        .filter_map(|model| model.card.as_ref().ok())
        .collect();
    if json {
        out.json(&usable)?;
    } else {
        let rows: Vec<_> = usable.iter().map(|card| row(card)).collect();
        out.table(&["MODEL", "SCALE", "SIZE", "LICENCE", "SOURCE"], &rows)?;
        out.flush()?;
    }
    for model in listed {
        match (&model.card, &model.hidden_by) {
            (Err(error), _) => complain(error),
            (Ok(_), Some(other)) => complain(format!(
                "{}: hidden by {other}; rename it, or name it by its path",
                model.name
            )),
            (Ok(_), None) => {}
        }
    }
    Ok(())
}

fn row(card: &ModelCard) -> Vec<String> {
    vec![
        card.name.to_string(),
        format!("×{}", card.scale),
        bytes(card.weights_bytes),
        card.licence.to_string(),
        card.source.to_string(),
    ]
}
