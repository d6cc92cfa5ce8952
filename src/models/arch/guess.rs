//! Owns the words about tensors that no network took: which network they are most likely of, and which do not fit.
//! Never decides whether a network is built.

use super::super::error::ImportError;
use super::super::weights::Weights;

/// Names that are listed; the others are counted.
const LISTED: usize = 3;

/// Letters of a name that are shown: names come from strangers.
const NAME_SHOWN: usize = 80;

/// A network that is known by name and not built.
struct Known {
    name: &'static str,
    /// Some tensor's name holds each of these.
    parts: &'static [&'static str],
}

/// A line of the table.
const fn known(name: &'static str, parts: &'static [&'static str]) -> Known {
    Known { name, parts }
}

/// Networks that people bring; the first whose parts are all found is the guess, so the special ones come first.
const KNOWN: &[Known] = &[known("a diffusion checkpoint", &["model.diffusion_model."])];

/// Why these tensors are refused.
pub fn unknown(weights: &Weights) -> ImportError {
    let names: Vec<&str> = weights.names().collect();
    if names.is_empty() {
        return ImportError::UnknownNetwork("there are none".to_owned());
    }
    let has = |part: &&str| names.iter().any(|name| name.contains(part));
    let guess = KNOWN
        .iter()
        .find(|known| known.parts.iter().all(|part| has(part)));
    ImportError::UnknownNetwork(match guess {
        Some(known) => format!(
            "closest to {}, which is not translated; {} not fit",
            known.name,
            listed(&names)
        ),
        None => format!("like none that is known; {} not fit", listed(&names)),
    })
}

/// `"a" and "b" do`, `"a", "b", "c" and 412 more do`, `"a" does`.
pub fn listed(names: &[&str]) -> String {
    let shown: Vec<String> = names.iter().take(LISTED).map(|name| quoted(name)).collect();
    let more = names.len().saturating_sub(LISTED);
    match (shown.as_slice(), more) {
        ([], _) => "none do".to_owned(),
        ([one], 0) => format!("{one} does"),
        ([first @ .., last], 0) => format!("{} and {last} do", first.join(", ")),
        (all, more) => format!("{} and {more} more do", all.join(", ")),
    }
}

fn quoted(name: &str) -> String {
    let cut: String = name.chars().take(NAME_SHOWN).collect();
    let dots = if cut.len() < name.len() { "…" } else { "" };
    format!("{:?}", cut + dots)
}
