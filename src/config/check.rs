//! Owns what must hold between the values of a configuration: no folder feeds itself, no circle of folders,
//! nothing of ours where pictures are looked for. By the letters of the paths alone; pure.

use std::collections::VecDeque;
use std::path::Path;

use super::values::Word;
use super::{Config, Folder, Recipe, Tiling, providers};

/// Everything that does not fit together, one line each.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let mut problems = Vec::new();
    for folder in &config.folders {
        problems.extend(own_paths(folder, &config.state_dir));
        if let Err(Contradiction { key, why }) = check_tiling(&folder.recipe) {
            problems.push(format!("[[folder]] {:?} {key}: {why}", folder.name));
        }
    }
    problems.extend(circles(&config.folders));
    problems.extend(providers::problems(&config.runtime));
    problems
}

/// Two values that cannot both be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The key to change; the option of the command line has the same name.
    pub key: &'static str,
    /// Why, as the rest of a sentence that begins with the key.
    pub why: String,
}

/// Whether tile and overlap make sense with the way of tiling; the same in the file and on the command line.
///
/// # Errors
/// The first [`Contradiction`].
pub fn check_tiling(recipe: &Recipe) -> Result<(), Contradiction> {
    let refuse = |key, px: u32, why: String| {
        let why = format!("{px} makes no sense: {why}");
        Err(Contradiction { key, why })
    };
    match (recipe.tiling, recipe.tile_px, recipe.overlap_px) {
        (Tiling::None, Some(px), _) => refuse(
            "tile",
            px,
            "tiling \"none\" makes no tiles; leave it out".to_owned(),
        ),
        (Tiling::None, _, Some(px)) => refuse(
            "overlap",
            px,
            "tiling \"none\" makes no tiles; leave it out".to_owned(),
        ),
        (Tiling::Exact, _, Some(px)) => refuse(
            "overlap",
            px,
            "exact tiles share what the model needs; leave it out or choose tiling \"feather\"".to_owned(),
        ),
        (tiling, Some(tile), Some(px)) if px >= tile / 2 => refuse(
            "overlap",
            px,
            format!(
                "tiling {:?} needs less than half of the tile ({tile}); take {} or less",
                tiling.word(),
                (tile / 2).saturating_sub(1)
            ),
        ),
        _ => Ok(()),
    }
}

/// What is wrong with a folder seen alone.
fn own_paths(folder: &Folder, state_dir: &Path) -> Vec<String> {
    let Folder {
        name, input, output, ..
    } = folder;
    let mut problems = Vec::new();
    let (input_shown, output_shown) = (input.display(), output.display());
    if input == output {
        problems.push(format!(
            "[[folder]] {name:?} output: is the input folder itself, {input_shown}; choose a folder beside it"
        ));
    } else if output.starts_with(input) {
        problems.push(format!(
            "[[folder]] {name:?} output: {output_shown} lies inside the input {input_shown}, so that results would \
             be upscaled again; choose a folder beside it"
        ));
    } else if input.starts_with(output) {
        problems.push(format!(
            "[[folder]] {name:?} input: {input_shown} lies inside the output {output_shown}, so that results could \
             be upscaled again; choose a folder beside it"
        ));
    }
    if state_dir.starts_with(input) {
        let state_shown = state_dir.display();
        problems.push(format!(
            "state_dir: {state_shown} lies inside the input of [[folder]] {name:?}; choose a directory outside it"
        ));
    }
    problems
}

/// Whether results of one folder can be sources of another.
fn feeds(from: &Folder, to: &Folder) -> bool {
    to.input.starts_with(&from.output) || (to.recursive && from.output.starts_with(&to.input))
}

/// Every circle of folders that feed each other, the shortest one through its first folder. A chain is
/// allowed: that is how a picture goes through two models.
fn circles(folders: &[Folder]) -> Vec<String> {
    let next: Vec<Vec<usize>> = folders
        .iter()
        .enumerate()
        .map(|(at, from)| {
            let others = folders.iter().enumerate();
            others
                // A folder that feeds itself is told by `own_paths`.
                .filter(|(other, to)| *other != at && feeds(from, to))
                .map(|(other, _)| other)
                .collect()
        })
        .collect();
    let mut told = vec![false; folders.len()];
    let mut problems = Vec::new();
    for start in 0..folders.len() {
        if told[start] {
            continue;
        }
        if let Some(circle) = circle_through(start, &next) {
            for member in &circle {
                told[*member] = true;
            }
            let names = circle
                .iter()
                .chain([&start])
                .map(|at| format!("{:?}", folders[*at].name));
            problems.push(format!(
                "[[folder]] {:?} output: results would go round for ever: {}; give one of them an output outside the \
                 others' inputs",
                folders[start].name,
                names.collect::<Vec<_>>().join(" → ")
            ));
        }
    }
    problems
}

/// The shortest way from `start` back to it, `start` first; breadth first.
fn circle_through(start: usize, next: &[Vec<usize>]) -> Option<Vec<usize>> {
    let mut came_from: Vec<Option<usize>> = vec![None; next.len()];
    let mut waiting = VecDeque::from([start]);
    while let Some(at) = waiting.pop_front() {
        for &to in &next[at] {
            if to == start {
                let mut circle: Vec<usize> = std::iter::successors(Some(at), |at| came_from[*at]).collect();
                circle.reverse();
                return Some(circle);
            }
            if came_from[to].is_none() {
                came_from[to] = Some(at);
                waiting.push_back(to);
            }
        }
    }
    None
}
