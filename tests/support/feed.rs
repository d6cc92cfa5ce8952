//! Pictures to be written that need no room of their own: a few rows, changed again and again.

use upscaled::codec::{
    Animation, Carried, Channels, Delay, Depth, FeedStopped, PixelLayout, ResultFormat, RowFeed, Sequence,
    SinkSpec,
};
use upscaled::config::EncodeSettings;
use upscaled::size::Size;

/// Divides the heights of all pictures here.
const ROWS: u32 = 10;

/// Always other rows, in the buffer that comes back: noise, or stripes that move.
pub struct Rows {
    chunk: Option<Vec<u8>>,
    chunk_bytes: usize,
    is_noise: bool,
    state: u32,
}

impl Rows {
    /// Rows for pictures of one width.
    pub fn new(width: u32, layout: PixelLayout, is_noise: bool) -> Self {
        let chunk_bytes = layout.row_bytes(width) * ROWS as usize;
        Self {
            chunk: Some(vec![0; chunk_bytes]),
            chunk_bytes,
            is_noise,
            state: 1,
        }
    }
}

impl RowFeed for Rows {
    fn next_rows(&mut self, spent: Vec<u8>) -> Result<Vec<u8>, FeedStopped> {
        let mut chunk = self.chunk.take().unwrap_or(spent);
        // The buffer of a picture's last rows does not come back.
        chunk.resize(self.chunk_bytes, 0);
        if self.is_noise {
            for byte in &mut chunk {
                self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (self.state >> 24) as u8;
            }
        } else {
            self.state = self.state.wrapping_add(1);
            for (at, byte) in (0u32..).zip(&mut chunk) {
                *byte = (at / 50 + self.state / 7) as u8;
            }
        }
        Ok(chunk)
    }
}

/// Samples.
pub fn layout(channels: Channels, depth: Depth) -> PixelLayout {
    PixelLayout { channels, depth }
}

/// A picture that is to be written.
pub fn spec(format: ResultFormat, layout: PixelLayout, size: (u32, u32)) -> SinkSpec {
    SinkSpec {
        size: Size::new(size.0, size.1),
        layout,
        format,
        quality: 92,
        settings: EncodeSettings::default(),
        metadata: Carried::default(),
        sequence: Sequence::Single,
    }
}

/// So many frames, a tenth of a second each.
pub fn frames(count: usize) -> Sequence {
    let delay = Delay {
        numerator: 1,
        denominator: 10,
    };
    Sequence::Animation(Animation {
        loops: 0,
        delays: vec![delay; count],
    })
}
