//! Owns the words in which a model's card is told.

use super::super::exit::Failure;
use super::super::out::{Out, bytes};
use crate::inference::profile_store::KeptProfile;
use crate::inference::{HALF_DECIBELS_MIN, ModelCard};
use crate::tiling::Speed;

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
        ("half", half(card)),
        ("batches", if card.batches { "yes" } else { "no" }.to_owned()),
    ];
    for (key, value) in facts {
        out.line(format_args!("{key:<12} {value}"))?;
    }
    Ok(())
}

/// Tells what was measured of it, place by place.
pub fn profiles(out: &mut Out, kept: &[KeptProfile]) -> Result<(), Failure> {
    for kept in kept {
        let memory = kept.profile.memory;
        out.line(format_args!(
            "\nmeasured on {} ({}, {}): {} and {} for each megapixel of a window",
            kept.provider,
            kept.device,
            kept.precision,
            bytes(memory.fixed_bytes),
            bytes((memory.bytes_per_pixel * 1e6) as u64)
        ))?;
        if let Some(learned) = kept.profile.learned {
            out.line(format_args!(
                "windows of {} pixels after larger ones ran out of memory",
                learned.window_pixels
            ))?;
        }
        speeds(out, &kept.profile.speeds)?;
    }
    Ok(())
}

/// A table of what was measured of its speed, the fastest marked.
pub fn speeds(out: &mut Out, speeds: &[Speed]) -> Result<(), Failure> {
    let fastest = speeds.iter().map(Speed::pixels_per_second).fold(0.0, f64::max);
    let rows: Vec<_> = speeds
        .iter()
        .map(|speed| {
            let rate = speed.pixels_per_second();
            vec![
                speed.window().to_string(),
                speed.batch.to_string(),
                format!("{:.3} s", speed.seconds),
                format!("{:.3}", rate / 1e6),
                if rate >= fastest { "fastest" } else { "" }.to_owned(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    out.table(&["WINDOW", "BATCH", "RUN", "MPX/S", ""], &rows)
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

fn half(card: &ModelCard) -> String {
    match card.half_decibels {
        Some(decibels) if decibels >= HALF_DECIBELS_MIN => {
            format!("{decibels:.1} dB from single precision; for GPUs with precision = \"fp16\"")
        }
        Some(decibels) => format!("{decibels:.1} dB from single precision, too far to be used"),
        None => "none".to_owned(),
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
