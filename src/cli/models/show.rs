//! Owns the words in which a model's card is told.

use super::super::exit::Failure;
use super::super::out::{Out, bytes};
use crate::inference::ModelCard;

/// Tells everything about a model.
pub fn card(out: &mut Out, card: &ModelCard) -> Result<(), Failure> {
    let [low, high] = card.value_range;
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
                "{}, {}, {}, {low} to {high}",
                card.layout.as_str(),
                channels(card),
                card.input_type.as_str()
            ),
        ),
        ("tileable", tileable(card)),
        ("halo", halo(card)),
        ("window", window(card)),
        ("border crop", format!("{} px", card.border_crop_px)),
        ("batches", if card.batches { "yes" } else { "no" }.to_owned()),
    ];
    for (key, value) in facts {
        out.line(format_args!("{key:<12} {value}"))?;
    }
    Ok(())
}

fn channels(card: &ModelCard) -> String {
    match card.channels {
        1 => "1 channel, run once for each colour".to_owned(),
        n => format!("{n} channels"),
    }
}

fn tileable(card: &ModelCard) -> String {
    if card.pools_globally {
        return "only feathered: it looks at the whole picture".to_owned();
    }
    let seams: Vec<String> = card
        .seam_errors
        .iter()
        .map(|seam| format!("{} px {:.2}", seam.overlap_px, seam.levels))
        .collect();
    match seams.as_slice() {
        [] => "yes".to_owned(),
        _ => format!(
            "yes; levels that feathering changes, by overlap: {}",
            seams.join(", ")
        ),
    }
}

fn halo(card: &ModelCard) -> String {
    card.receptive_radius_px.map_or_else(
        || "larger than could be measured".to_owned(),
        |px| format!("{px} px"),
    )
}

fn window(card: &ModelCard) -> String {
    match card.fixed_shape {
        Some([width, height]) => format!("{width}×{height} px, no other"),
        None => format!(
            "at least {} px, a multiple of {} px",
            card.minimum_px, card.alignment_px
        ),
    }
}
