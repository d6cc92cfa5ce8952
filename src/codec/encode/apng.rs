//! Owns animated PNG files: of each frame what changed, exactly. Holds two frames, and what becomes of one.

use png::{BlendOp, EncodingError};

use super::canvas::Area;
use super::out::BUFFER_BYTES;
use super::png as still;
use super::{Output, Rows, Stop, refused};
use crate::codec::error::CodecError;
use crate::codec::layout::{Depth, ResultFormat};
use crate::codec::sequence::{Animation, Delay, Sequence, Ticks};
use crate::codec::sink::SinkSpec;

/// Writes the frames.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let Sequence::Animation(animation) = &spec.sequence else {
        return Err(refused(ResultFormat::Png, "it holds frames, not pages"));
    };
    frames(spec, animation, rows, out).map_err(|stop| stop.into_error(ResultFormat::Png, out))?;
    Ok(Vec::new())
}

fn frames(spec: &SinkSpec, animation: &Animation, rows: &mut Rows<'_>, out: &mut Output) -> Result<(), Stop> {
    let count = u32::try_from(animation.delays.len()).map_err(|_| EncodingError::LimitsExceeded)?;
    let mut encoder = png::Encoder::with_info(out, still::info(spec))?;
    encoder.set_animated(count, animation.loops)?;
    encoder.set_deflate_compression(still::deflate(spec.settings.png_effort));
    encoder.set_filter(still::FILTER);
    let mut writer = encoder.write_header()?;
    still::write_texts(spec, &mut writer)?;
    let mut clock = Ticks::new(1000, u32::from(u16::MAX));
    let (mut before, mut now) = (Vec::new(), Vec::new());
    for (index, delay) in animation.delays.iter().enumerate() {
        now.clear();
        rows.read_picture(&mut now)?;
        if spec.layout.depth == Depth::Sixteen {
            still::to_big_endian(&mut now);
        }
        let area = match index {
            0 => Area::whole(spec.size),
            _ => Area::changed(&before, &now, spec.size),
        };
        // In this order: each is checked against the one before.
        writer.reset_frame_position()?;
        writer.set_frame_dimension(area.size.width, area.size.height)?;
        writer.set_frame_position(area.x, area.y)?;
        let (numerator, denominator) = fraction(*delay, &mut clock);
        writer.set_frame_delay(numerator, denominator)?;
        writer.set_blend_op(BlendOp::Source)?;
        writer.write_image_data(&area.cut(&now, spec.size.width, spec.layout.bytes_per_pixel()))?;
        std::mem::swap(&mut before, &mut now);
        rows.next_picture();
    }
    writer.finish()?;
    Ok(())
}

/// The delay as it is where the format can say it; else in thousandths.
fn fraction(delay: Delay, clock: &mut Ticks) -> (u16, u16) {
    let ticks = clock.of(delay);
    match (u16::try_from(delay.numerator), u16::try_from(delay.denominator)) {
        (Ok(numerator), Ok(denominator)) if denominator > 0 => (numerator, denominator),
        // At most 65,535, as the clock was told.
        _ => (ticks as u16, 1000),
    }
}

/// Most bytes held besides the rows: two frames, what changed, that filtered and compressed, the file's buffer.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let frame = spec.layout.row_bytes(spec.size.width) as u64 * u64::from(spec.size.height);
    // What is compressed grows in a vector that may be twice as large as what is in it.
    let filtered = frame + u64::from(spec.size.height);
    3 * frame + filtered + 2 * filtered + still::DEFLATE_BYTES + BUFFER_BYTES as u64
}
