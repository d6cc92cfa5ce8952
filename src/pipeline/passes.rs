//! Owns the passes over one picture: the model is applied as often as it takes, each application fed by the one before
//! it as rows come, so that no picture in between is ever held. Never decides how often.

use super::bands::{Commission, Tiles};
use super::choice::Choice;
use super::rows::{Device, Stopped, Supply};
use super::target::Course;
use super::told::RowsMade;
use crate::inference::Upscaler;

/// All passes over a picture, the first one first; at least one.
#[derive(Debug)]
pub(super) struct Passes(Vec<Pass>);

/// One application of the model.
#[derive(Debug)]
struct Pass {
    tiles: Tiles,
    /// The rows that the next pass has taken.
    spent: Vec<u8>,
}

impl Passes {
    /// For a picture with such a course, and a choice of windows for each pass.
    pub(super) fn new(
        course: &Course,
        choices: &[Choice],
        source_name: &str,
        upscaler: &dyn Upscaler,
    ) -> Self {
        let scale = upscaler.card().scale;
        let pass = |(index, choice): (u32, &Choice)| {
            let (image, source_layout) = course.given(index, scale);
            let tiles = Tiles::new(Commission {
                image,
                source_layout,
                result_layout: course.made_layout(index),
                result_width: scale.of(image.width),
                choice: choice.clone(),
                source_name: source_name.to_owned(),
            });
            Pass {
                tiles,
                spent: Vec::new(),
            }
        };
        Self((0..).zip(choices).map(pass).collect())
    }

    /// Begins with another picture of the same course.
    pub(super) fn begin_again(&mut self, upscaler: &dyn Upscaler) -> Result<(), Stopped> {
        self.0
            .iter_mut()
            .try_for_each(|pass| pass.tiles.begin_again(upscaler))
    }

    /// The next final rows of the last pass, in `spent` or in a new buffer; `None` after the last.
    pub(super) fn next_rows(
        &mut self,
        spent: Vec<u8>,
        source: &mut dyn Supply,
        device: &mut Device<'_>,
    ) -> Result<Option<Vec<u8>>, Stopped> {
        device.largest_run = (self.0.len() > 1)
            .then(|| self.0.iter().map(|pass| pass.tiles.largest_run()))
            .and_then(|runs| runs.max_by_key(|(window, batch)| window.pixels() * u64::from(*batch)));
        Chain {
            passes: &mut self.0,
            source,
        }
        .next_rows(spent, device)
    }

    /// What there is to tell, after the end.
    pub(super) fn told(&self, upscaler: &dyn Upscaler) -> Option<RowsMade> {
        let each = self.0.iter().map(|pass| pass.tiles.told(upscaler));
        each.reduce(|mut all, next| {
            all.add(next);
            all
        })
    }
}

/// Some passes, and what the first of them is fed with.
struct Chain<'a> {
    passes: &'a mut [Pass],
    source: &'a mut dyn Supply,
}

impl Chain<'_> {
    fn next_rows(&mut self, spent: Vec<u8>, device: &mut Device<'_>) -> Result<Option<Vec<u8>>, Stopped> {
        match self.passes.split_last_mut() {
            None => Ok(None),
            Some((only, [])) => only.tiles.next_rows(spent, self.source, device),
            Some((last, earlier)) => {
                let mut before = Chain {
                    passes: earlier,
                    source: self.source,
                };
                last.tiles.next_rows(spent, &mut before, device)
            }
        }
    }
}

impl Supply for Chain<'_> {
    fn next(&mut self, device: &mut Device<'_>, take: &mut dyn FnMut(&[u8])) -> Result<(), Stopped> {
        let spent = self.passes.last_mut().map(|pass| std::mem::take(&mut pass.spent));
        let rows = self.next_rows(spent.unwrap_or_default(), device)?;
        // A pass never asks for more rows than the one before it makes.
        let rows = rows.ok_or(Stopped::Upstream)?;
        take(&rows);
        if let Some(pass) = self.passes.last_mut() {
            pass.spent = rows;
        }
        Ok(())
    }
}
