//! Owns the measurement of how far a change of the input moves the output: the receptive radius, or that there is no
//! end to it. Never believes a formula.
//!
//! A block of pixels is changed at each end of a long thin strip, and every output that differs in any bit counts: runs
//! of one shape on one machine are reproducible to the bit. Thin, because a strip costs its area and reach along it is
//! all that is asked. Changed where it is noise, because in noise hardly any path through the net is silent.

use super::content;
use super::net::{Net, Output};
use super::shape::Shape;
use crate::size::Size;

/// Lengths of strips, beside the border crop. A radius that the longest does not show is as good as none: no tile is
/// that large.
const LENGTHS_PX: [u32; 4] = [128, 256, 512, 1024];

/// Thickness of strips: enough that the rows differ in which paths they take.
const THICKNESS_PX: u32 = 16;

/// Swings of the noise that are looked at. The wide one drives gates (sigmoid, squeeze) into their flat ends, where
/// changes vanish; the narrow ones leave rectifiers that never open.
const SWINGS: [f32; 3] = [0.15, 0.5, 0.3];

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// It ends after so many input pixels.
    Radius(u32),
    /// A change at one end moves the other end of the longest strip.
    Everything,
    /// Longer than what could be afforded.
    Unknown,
}

/// A direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Along {
    Rows,
    Columns,
}

/// One picture for looking.
#[derive(Debug, Clone, Copy)]
struct Strip {
    along: Along,
    length: u32,
    thickness: u32,
}

/// Which look: it decides noise and place of the change.
type Variant = usize;

impl Strip {
    fn size(self) -> Size {
        match self.along {
            Along::Rows => Size::new(self.length, self.thickness),
            Along::Columns => Size::new(self.thickness, self.length),
        }
    }
}

/// Measures both directions, along rows and along columns.
pub(super) fn measure(net: &mut Net<'_>, shape: &Shape) -> Reach {
    let along_rows = measure_along(net, shape, Along::Rows, 0);
    let Reach::Radius(one) = along_rows else {
        return along_rows;
    };
    // As far as along the rows it will be along the columns too.
    match measure_along(net, shape, Along::Columns, one) {
        Reach::Radius(other) => Reach::Radius(one.max(other)),
        more => more,
    }
}

/// Measures along one direction; `expected` is the radius to begin with, which spares strips that are too short for it.
fn measure_along(net: &mut Net<'_>, shape: &Shape, along: Along, expected: u32) -> Reach {
    let strips = strips(shape, along);
    let last = strips.len() - 1;
    let long_enough = |radius: u32| {
        let enough = |strip: &Strip| radius < strip.length / 4;
        strips.iter().position(enough).unwrap_or(last)
    };
    let mut radius = 0;
    let mut strip = long_enough(expected);
    let mut variant = 0;
    let mut looked_across = false;
    while variant < SWINGS.len() {
        match look(net, shape, strips[strip], variant) {
            Some(Look::Ends(found)) => {
                radius = radius.max(found);
                variant += 1;
            }
            Some(Look::Meets) if strip < last && !looked_across => {
                // Either long or endless. One look at the longest strip tells, and spares those between.
                looked_across = true;
                match look_across(net, shape, strips[last]) {
                    Some(Look::Ends(found)) => strip = long_enough(found).max(strip + 1),
                    Some(Look::Meets) => return Reach::Everything,
                    None => return Reach::Unknown,
                }
            }
            Some(Look::Meets) if strip < last => strip += 1,
            // With a single shape, whether a change beyond it would count cannot be seen.
            Some(Look::Meets) | None => return Reach::Unknown,
        }
    }
    Reach::Radius(radius)
}

fn strips(shape: &Shape, along: Along) -> Vec<Strip> {
    if let Some(size) = shape.fixed {
        let (length, thickness) = match along {
            Along::Rows => (size.width, size.height),
            Along::Columns => (size.height, size.width),
        };
        return vec![Strip {
            along,
            length,
            thickness,
        }];
    }
    let crop = 2 * shape.crop_px;
    let strip = |length: u32| Strip {
        along,
        // At least eight blocks, of which the middle two stay free.
        length: shape.align_up((length + crop).max(8 * shape.alignment_px)),
        thickness: shape.align_up(THICKNESS_PX + crop),
    };
    LENGTHS_PX.map(strip).to_vec()
}

/// What a look showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// The change reaches so far.
    Ends(u32),
    /// No end was seen.
    Meets,
}

/// Changes both ends in one run: the change from either must end before the middle of the strip. `None` where the run
/// failed or cannot be afforded.
fn look(net: &mut Net<'_>, shape: &Shape, strip: Strip, variant: Variant) -> Option<Look> {
    let left = first_block(shape, strip, variant);
    let right = [strip.length - left[1], strip.length - left[0]];
    let moved = moved(net, strip, variant, &[left, right])?;
    let middle = moved.len() / 2;
    // A net with dilated convolutions leaves gaps; the free middle must be wider than they are.
    let free = moved.len() / 8;
    if moved[middle - free..middle + free].contains(&true) {
        return Some(Look::Meets);
    }
    let from_left = moved[..middle].iter().rposition(|moved| *moved);
    let from_right = moved[middle..].iter().position(|moved| *moved);
    // From the far edge of the block: no pixel of it reaches further.
    let rightwards = from_left.map_or(0, |last| shape.input_of(last).saturating_sub(left[0]));
    let leftwards = from_right.map_or(0, |first| {
        (right[1] - 1).saturating_sub(shape.input_of(middle + first))
    });
    Some(Look::Ends(rightwards.max(leftwards)))
}

/// Changes one end only, and looks at the other.
fn look_across(net: &mut Net<'_>, shape: &Shape, strip: Strip) -> Option<Look> {
    let block = first_block(shape, strip, 0);
    let moved = moved(net, strip, 0, &[block])?;
    let far = moved.len() - moved.len() / 8;
    if moved[far..].contains(&true) {
        return Some(Look::Meets);
    }
    let last = moved.iter().rposition(|moved| *moved);
    Some(Look::Ends(
        last.map_or(0, |last| shape.input_of(last).saturating_sub(block[0])),
    ))
}

/// The block that is changed, one alignment step wide, inside of the border crop; another one for each variant.
fn first_block(shape: &Shape, strip: Strip, variant: Variant) -> [u32; 2] {
    let step = shape.alignment_px;
    // Three steps at most, and not where they would take the strip's room.
    let phase = (variant as u32).min(strip.length / (16 * step));
    let start = shape.crop_px.next_multiple_of(step) + phase * step;
    [start, start + step]
}

/// For each output position along the strip, whether anything of it moved when the blocks were changed.
fn moved(net: &mut Net<'_>, strip: Strip, variant: Variant, blocks: &[[u32; 2]]) -> Option<Vec<bool>> {
    let size = strip.size();
    if !net.affords(2 * size.pixels()) {
        return None;
    }
    let before = content::noise(size, net.format.channels, SWINGS[variant], variant as u64);
    let mut after = before.clone();
    for (index, value) in after.iter_mut().enumerate() {
        let (x, y) = (
            (index % size.width as usize) as u32,
            (index / size.width as usize) as u32 % size.height,
        );
        let place = match strip.along {
            Along::Rows => x,
            Along::Columns => y,
        };
        if blocks.iter().any(|block| (block[0]..block[1]).contains(&place)) {
            // Half the range away, and never outside of it.
            *value = (*value + 0.5) % 1.0;
        }
    }
    let before = net.run(&before, size).ok()?;
    let after = net.run(&after, size).ok()?;
    Some(differences(&before, &after, strip.along))
}

fn differences(before: &Output, after: &Output, along: Along) -> Vec<bool> {
    let (width, height) = (before.size.width as usize, before.size.height as usize);
    let mut moved = match along {
        Along::Rows => vec![false; width],
        Along::Columns => vec![false; height],
    };
    let rows = before
        .data
        .chunks_exact(width)
        .zip(after.data.chunks_exact(width));
    for (row, (before, after)) in rows.enumerate() {
        for (column, (before, after)) in before.iter().zip(after).enumerate() {
            let place = match along {
                Along::Rows => column,
                Along::Columns => row % height,
            };
            moved[place] |= before.to_bits() != after.to_bits();
        }
    }
    moved
}
