//! Owns `upscaled models`: what can upscale.

use super::args::ModelsCommand;
use super::exit::{Exit, Failure};
use super::out::{Out, bytes};
use crate::inference::card::{self, Model, ModelCard};

/// Lists the models, or tells about one.
pub fn models(command: ModelsCommand) -> Result<Exit, Failure> {
    let mut out = Out::stdout();
    match command {
        ModelsCommand::List(json) => {
            let cards: Vec<ModelCard> = card::built_in().into_iter().map(|model| model.card).collect();
            if json.json {
                out.json(&cards)?;
            } else {
                list(&mut out, &cards)?;
            }
        }
        ModelsCommand::Show { model, json } => {
            let card = Model::find(&model)?.card;
            if json.json {
                out.json(&card)?;
            } else {
                show(&mut out, &card)?;
            }
        }
    }
    out.flush()?;
    Ok(Exit::Done)
}

fn list(out: &mut Out, cards: &[ModelCard]) -> Result<(), Failure> {
    let row = |card: &ModelCard| {
        vec![
            card.name.to_string(),
            format!("×{}", card.scale),
            bytes(card.weights_bytes),
            card.licence.to_string(),
            card.source.to_string(),
        ]
    };
    let rows: Vec<_> = cards.iter().map(row).collect();
    out.table(&["MODEL", "SCALE", "SIZE", "LICENCE", "SOURCE"], &rows)
}

fn show(out: &mut Out, card: &ModelCard) -> Result<(), Failure> {
    let [low, high] = card.value_range;
    let tiles = if card.pools_globally {
        "no, it sees the whole picture at once"
    } else {
        "yes"
    };
    let halo = card.receptive_radius_px.map_or_else(
        || "larger than could be measured".to_owned(),
        |px| format!("{px} px"),
    );
    let facts = [
        ("name", card.name.to_string()),
        ("scale", card.scale.to_string()),
        ("source", card.source.to_string()),
        ("licence", card.licence.to_string()),
        ("sha256", card.sha256.to_string()),
        (
            "weights",
            format!("{}, {}", bytes(card.weights_bytes), card.precision.as_str()),
        ),
        (
            "tensors",
            format!(
                "{}, {} channels, {low} to {high}",
                card.layout.as_str(),
                card.channels
            ),
        ),
        ("tileable", tiles.to_owned()),
        ("halo", halo),
        (
            "window",
            format!(
                "at least {} px, a multiple of {} px",
                card.minimum_px, card.alignment_px
            ),
        ),
        ("border crop", format!("{} px", card.border_crop_px)),
    ];
    for (key, value) in facts {
        out.line(format_args!("{key:<12} {value}"))?;
    }
    Ok(())
}
