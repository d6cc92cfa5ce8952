//! Owns the comments in a GIF's blocks. Never unpacks a frame.

use std::fs::File;

use super::Found;
use crate::codec::notes::COMMENT_BYTES_MAX;
use crate::codec::outline::{Flaw, Stream, gif_blocks};

const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2C;
const COMMENT: u8 = 0xFE;

/// What precedes the first block, and a frame's data, without palettes: their last bytes but two, and their last, say
/// whether there is one.
const SCREEN_BYTES: u64 = 6 + 4;
const FRAME_PLACE_BYTES: u64 = 8;

/// Walks the blocks to the trailer.
pub(super) fn gather(stream: &mut Stream<&File>, found: &mut Found) -> Result<(), Flaw> {
    stream.skip(SCREEN_BYTES)?;
    let [flags, _, _] = stream.bytes()?;
    skip_palette(stream, flags)?;
    loop {
        match stream.byte()? {
            FRAME => {
                stream.skip(FRAME_PLACE_BYTES)?;
                let flags = stream.byte()?;
                skip_palette(stream, flags)?;
                // The width of the first code; then the data.
                stream.skip(1)?;
                gif_blocks(stream, |_| {})?;
            }
            EXTENSION => {
                let is_comment = stream.byte()? == COMMENT;
                let (mut comment, mut is_whole) = (Vec::new(), true);
                gif_blocks(stream, |block| {
                    is_whole &= comment.len() + block.len() <= COMMENT_BYTES_MAX;
                    if is_comment && is_whole {
                        comment.extend_from_slice(block);
                    }
                })?;
                if is_comment {
                    found.take_comment(comment, is_whole);
                }
            }
            _ => return Ok(()),
        }
    }
}

fn skip_palette(stream: &mut Stream<&File>, flags: u8) -> Result<(), Flaw> {
    if flags & 0x80 != 0 {
        stream.skip(3 << ((flags & 7) + 1))?;
    }
    Ok(())
}
