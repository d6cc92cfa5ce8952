//! Owns pictures that their decoders only give whole. Never holds more than that decoder does.

use std::io::Read;

use super::{Bands, Shape, Trouble};
use crate::codec::decoder;
use crate::codec::file::Source;
use crate::codec::probe::DecodeLimits;

/// A picture that is read with one call.
pub(super) struct Picture {
    source: Source,
    shape: Shape,
    limits: DecodeLimits,
}

impl Picture {
    pub(super) fn new(source: Source, shape: Shape, limits: &DecodeLimits) -> Self {
        Self {
            source,
            shape,
            limits: limits.clone(),
        }
    }
}

impl Bands for Picture {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let image_bytes = self.source.outline.image_end.unwrap_or(u64::MAX);
        let file = (&self.source.file).take(image_bytes);
        let decoder = decoder::new(self.source.format, file, &self.limits)?;
        self.shape
            .insist(decoder::size(&decoder), decoder::layout(decoder.color_type()))?;
        decoder.read_image_boxed(rows)?;
        Ok(())
    }
}
