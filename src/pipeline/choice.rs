//! Owns the choice of how a picture is cut: what the recipe asks for, what the model's card allows, and what fits,
//! become one plan and the reason for it. Pure.

use std::sync::Arc;

use crate::config::{Recipe, Tiling};
use crate::inference::{ModelCard, Profile, Windows};
use crate::size::Size;
use crate::tiling::cost::seconds_of_window;
use crate::tiling::plan::{Demands, Joint, Limits, PlanError, TilePlan, plan};

/// The tile and the overlap of the reference node.
const REFERENCE_TILE_PX: u32 = 512;
const REFERENCE_OVERLAP_PX: u32 = 32;

/// Windows above this area gain little where nothing was measured: the halo is already below a seventh, and a stop or a
/// step in the progress would take long.
const MOST_UNMEASURED_PIXELS: u64 = 660 * 660;

/// A run should be over in this time, where its speed is known: a stop waits for its end, and a progress bar too.
const LONGEST_RUN_S: f64 = 8.0;

/// Most tiles of one run: what anybody measured to be faster.
const MOST_TILES_PER_RUN: u32 = 8;

/// A seam error below this is invisible after rounding.
const INVISIBLE_LEVELS: f32 = 0.5;

/// What was chosen, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// The plan.
    pub plan: TilePlan,
    /// What bounded it.
    pub limits: Limits,
    /// How a picture that was to be done in one piece is cut if it does not fit after all.
    pub otherwise: Option<Joint>,
    /// What feathering was measured to change, 99.9th percentile in levels of 255.
    pub seam_error_levels: Option<f32>,
    /// One line for a person.
    pub why: String,
    /// What a person should know about the result.
    pub warnings: Vec<String>,
}

/// The choices for the passes over a picture, the first one first; shared by pages that are alike.
pub type Choices = Arc<[Choice]>;

/// There is no way to cut this picture that fits the device.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ChoiceError {
    /// Nothing fits.
    #[error("{0}")]
    Memory(PlanError),
    /// It was to be done in one piece.
    #[error("in one piece, as tiling = \"none\" asks: {0}")]
    Piece(PlanError),
    /// Exact tiles of this model do not exist.
    #[error("{model} sees {sight}, so that exact tiling takes the picture in one piece: {error}")]
    NotExact {
        /// The model's name.
        model: String,
        /// How far it sees, in words.
        sight: &'static str,
        /// What one piece would need.
        error: PlanError,
    },
}

impl ChoiceError {
    /// What else than more memory would help; empty where nothing would.
    pub fn alternative(&self) -> &'static str {
        match self {
            Self::Memory(_) => "",
            Self::Piece(_) | Self::NotExact { .. } => ", or use tiling = \"auto\"",
        }
    }
}

/// Halos of more than this are likelier to be feathered than paid for.
const COSTLY_RADIUS_PX: u32 = 48;

/// Whether cores may come to overlap, before anything is chosen.
pub fn may_blend(recipe: &Recipe, card: &ModelCard) -> bool {
    match recipe.tiling {
        Tiling::Exact | Tiling::None => false,
        Tiling::Feather | Tiling::Comfy => true,
        Tiling::Auto => {
            card.pools_globally || card.receptive_radius_px.is_none_or(|px| px > COSTLY_RADIUS_PX)
        }
    }
}

/// What the model asks of every window, at a place with this profile that takes these windows.
pub fn demands(card: &ModelCard, profile: &Profile, windows: Windows) -> Demands {
    let (least_px, only) = match windows {
        Windows::Any => (0, None),
        Windows::Within(least_px, _) => (least_px, None),
        Windows::Only(window) => (0, Some(window)),
    };
    Demands {
        align_px: card.alignment_px,
        min_px: card.minimum_px.max(least_px),
        crop_px: card.border_crop_px,
        fixed: card
            .fixed_shape
            .map(|[width, height]| Size::new(width, height))
            .or(only),
        scale: card.scale,
        batches: card.batches && windows == Windows::Any,
        memory: profile.memory,
        speeds: profile.speeds.clone(),
    }
}

/// What there is: of the device by its budget, of the host by what a row of a window costs in bands.
pub fn limits(
    recipe: &Recipe,
    profile: &Profile,
    windows: Windows,
    device_bytes: u64,
    learned_pixels: Option<u64>,
    window_rows: u32,
) -> Limits {
    let side_px = match windows {
        Windows::Within(_, most_px) => most_px,
        Windows::Any | Windows::Only(_) => u32::MAX,
    };
    let pixels = recipe
        .tile_px
        .map_or_else(|| most_pixels(profile), |side| u64::from(side).pow(2));
    Limits {
        device_bytes,
        window_side_px: recipe.tile_px.unwrap_or(u32::MAX).min(side_px),
        window_pixels: pixels,
        run_pixels: learned_pixels.unwrap_or(u64::MAX),
        window_rows,
        batch: MOST_TILES_PER_RUN,
    }
}

/// The largest area worth a run: as far as speeds were measured, and no longer than [`LONGEST_RUN_S`].
fn most_pixels(profile: &Profile) -> u64 {
    let measured = profile.speeds.iter().map(|speed| speed.window().pixels()).max();
    let Some(measured) = measured else {
        return MOST_UNMEASURED_PIXELS;
    };
    let most = measured.max(MOST_UNMEASURED_PIXELS);
    let rate = most as f64 / seconds_of_window(&profile.speeds, most);
    most.min((rate * LONGEST_RUN_S) as u64).max(128 * 128)
}

/// Chooses for a picture of this size.
///
/// # Errors
/// [`ChoiceError`].
pub fn choose(
    image: Size,
    recipe: &Recipe,
    card: &ModelCard,
    demands: &Demands,
    limits: Limits,
) -> Result<Choice, ChoiceError> {
    let chooser = Chooser {
        image,
        recipe,
        card,
        demands,
        limits,
    };
    match recipe.tiling {
        Tiling::None => chooser.whole().map_err(ChoiceError::Piece),
        Tiling::Exact => chooser.exact(),
        Tiling::Feather => chooser.feather(),
        Tiling::Comfy => chooser.comfy(),
        Tiling::Auto => chooser.auto(),
    }
}

struct Chooser<'a> {
    image: Size,
    recipe: &'a Recipe,
    card: &'a ModelCard,
    demands: &'a Demands,
    limits: Limits,
}

impl Chooser<'_> {
    fn plan(&self, joint: Joint) -> Result<TilePlan, PlanError> {
        plan(self.image, 0, joint, self.demands, &self.limits)
    }

    fn chosen(&self, plan: TilePlan, why: String) -> Choice {
        Choice {
            plan,
            limits: self.limits,
            otherwise: None,
            seam_error_levels: None,
            why,
            warnings: Vec::new(),
        }
    }

    fn whole(&self) -> Result<Choice, PlanError> {
        let plan = self.plan(Joint::Whole)?;
        Ok(self.chosen(plan, "the whole picture in one run".to_owned()))
    }

    /// How far the model sees, where exact tiles can cover it.
    fn radius(&self) -> Option<u32> {
        self.card
            .receptive_radius_px
            .filter(|_| !self.card.pools_globally)
    }

    fn exact(&self) -> Result<Choice, ChoiceError> {
        let Some(radius) = self.radius() else {
            let sight = if self.card.pools_globally {
                "the whole picture at once"
            } else {
                "farther than could be measured"
            };
            return self.whole().map_err(|error| ChoiceError::NotExact {
                model: self.card.name.to_string(),
                sight,
                error,
            });
        };
        // More context than needed is harmless; less would not be exact.
        let halo_px = self
            .recipe
            .overlap_px
            .map_or(radius, |overlap| radius.max(overlap.div_ceil(2)));
        let plan = self.plan(Joint::Exact { halo_px }).map_err(ChoiceError::Memory)?;
        let why = format!(
            "exact: {} carries {radius} px of context; {}",
            self.card.name,
            self.windows()
        );
        let mut choice = self.chosen(plan, why);
        if let Some(overlap) = self
            .recipe
            .overlap_px
            .filter(|overlap| overlap.div_ceil(2) < radius)
        {
            choice.warnings.push(format!(
                "an overlap of {overlap} px is less than exact tiles of {} need; {} px were used",
                self.card.name,
                2 * radius
            ));
        }
        Ok(choice)
    }

    /// The smallest overlap whose measured error is invisible, else the one with the least error, of those that fit.
    fn feather(&self) -> Result<Choice, ChoiceError> {
        let measured = |overlap: u32| {
            let at = self
                .card
                .seam_errors
                .iter()
                .filter(|error| error.overlap_px <= overlap);
            at.max_by_key(|error| error.overlap_px).map(|error| error.levels)
        };
        if let Some(overlap_px) = self.recipe.overlap_px {
            let plan = self
                .plan(Joint::Feather { overlap_px })
                .map_err(ChoiceError::Memory)?;
            return Ok(self.feathered(plan, overlap_px, measured(overlap_px)));
        }
        let mut candidates: Vec<(u32, Option<f32>)> = self
            .card
            .seam_errors
            .iter()
            .map(|error| (error.overlap_px, Some(error.levels)))
            .collect();
        // Invisible ones first, the cheapest of them before the others; then by what is seen.
        candidates.sort_by(|(a, a_levels), (b, b_levels)| {
            let rank = |levels: &Option<f32>| levels.map_or(f32::MAX, |levels| levels.max(INVISIBLE_LEVELS));
            rank(a_levels).total_cmp(&rank(b_levels)).then(a.cmp(b))
        });
        if candidates.is_empty() {
            candidates.push((self.unmeasured_overlap(), None));
        }
        let mut refused = None;
        for (overlap_px, levels) in candidates {
            match self.plan(Joint::Feather { overlap_px }) {
                Ok(plan) => return Ok(self.feathered(plan, overlap_px, levels)),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        // Any overlap is better than none at all: the smallest that the reference would take.
        self.plan(Joint::Feather {
            overlap_px: REFERENCE_OVERLAP_PX / 2,
        })
        .map(|plan| self.feathered(plan, REFERENCE_OVERLAP_PX / 2, None))
        .map_err(|error| ChoiceError::Memory(refused.unwrap_or(error)))
    }

    /// Twice the radius puts every blended pixel within sight of one of its windows.
    fn unmeasured_overlap(&self) -> u32 {
        self.radius().map_or(REFERENCE_OVERLAP_PX, |radius| {
            (2 * radius).clamp(8, 2 * REFERENCE_OVERLAP_PX)
        })
    }

    fn feathered(&self, plan: TilePlan, overlap_px: u32, levels: Option<f32>) -> Choice {
        let single = plan.tiles() == 1;
        let why = match levels {
            _ if single => "the whole picture fits one window".to_owned(),
            Some(levels) => format!(
                "feather: {overlap_px} px of overlap change {levels:.2} levels at the 99.9th percentile; {}",
                self.windows()
            ),
            None => format!("feather: {overlap_px} px of overlap; {}", self.windows()),
        };
        let mut choice = self.chosen(plan, why);
        choice.seam_error_levels = levels.filter(|_| !single);
        choice
    }

    fn comfy(&self) -> Result<Choice, ChoiceError> {
        let overlap_px = self.recipe.overlap_px.unwrap_or(REFERENCE_OVERLAP_PX);
        let wanted = self.recipe.tile_px.unwrap_or(REFERENCE_TILE_PX);
        // The reference finds out by failing; where the need is known, the tile that fits is taken at once.
        let fits = |tile: &u32| {
            self.plan(Joint::Comfy {
                tile_px: *tile,
                overlap_px,
            })
            .is_ok_and(|plan| {
                self.demands.memory.budget_of_window(plan.window().pixels()) <= self.limits.device_bytes
            })
        };
        let halved = [wanted, wanted / 2, wanted / 4]
            .into_iter()
            .filter(|tile| *tile > overlap_px);
        let tile_px = halved
            .clone()
            .find(fits)
            .or_else(|| halved.clone().next_back())
            .unwrap_or(wanted);
        let plan = self
            .plan(Joint::Comfy { tile_px, overlap_px })
            .map_err(ChoiceError::Memory)?;
        Ok(self.chosen(
            plan,
            format!("comfy: as the reference node does, tile {tile_px}, overlap {overlap_px}"),
        ))
    }

    /// Exact where the halo costs less than a third of the pixels, else feathered; in one piece where tiles can never
    /// be right and it fits.
    fn auto(&self) -> Result<Choice, ChoiceError> {
        if self.card.pools_globally {
            return self.pooled();
        }
        let Ok(exact) = self.exact() else {
            return self.feather();
        };
        let halo_share = 1.0 - self.image.pixels() as f64 / exact.plan.computed_pixels() as f64;
        if exact.plan.tiles() == 1 || halo_share < 1.0 / 3.0 {
            return Ok(exact);
        }
        let feather = self.feather();
        match feather {
            Ok(feather) if feather.plan.computed_pixels() < exact.plan.computed_pixels() => Ok(feather),
            _ => Ok(exact),
        }
    }

    fn pooled(&self) -> Result<Choice, ChoiceError> {
        let feather = self.feather();
        match (self.whole(), feather) {
            (Ok(mut whole), feather) => {
                whole.otherwise = feather.ok().map(|feather| feather.plan.joint);
                whole.why = format!("in one piece: {} sees the whole picture at once", self.card.name);
                Ok(whole)
            }
            (Err(_), feather) => feather,
        }
    }

    fn windows(&self) -> String {
        let bound = match (self.recipe.tile_px, self.demands.speeds.len()) {
            (Some(px), _) => format!("windows of at most {px} px"),
            (None, 0) => "the fewest pixels of all windows that fit".to_owned(),
            (None, measured) => format!("the fastest of all windows that fit, by {measured} measured speeds"),
        };
        format!("{bound} ({} bytes)", self.limits.device_bytes)
    }
}
