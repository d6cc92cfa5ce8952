//! Owns JPEG XL files: lossless, with a header of our own. Holds the whole picture, because the encoder does.
//!
//! zune-jpegxl is the one encoder that is permissively licensed. It knows no profiles, so only its frame is taken, and
//! what stands before it is written here. It writes wrong samples for grey with alpha of 16 bits, and calls every alpha
//! 8 bits deep: pictures with alpha have 8 bits.

use std::io::{self, Write};

use zune_core::bit_depth::BitDepth;
use zune_core::colorspace::ColorSpace;
use zune_core::options::EncoderOptions;
use zune_jpegxl::JxlSimpleEncoder;

use super::isobmff::boxed;
use super::out::BUFFER_BYTES;
use super::{Output, Rows, failed, refused};
use crate::codec::error::CodecError;
use crate::codec::layout::{Channels, Depth, PixelLayout, ResultFormat};
use crate::codec::metadata::Carried;
use crate::codec::sink::SinkSpec;
use crate::size::Size;

/// Writes the picture.
///
/// # Errors
/// [`CodecError`].
pub fn encode(spec: &SinkSpec, rows: &mut Rows<'_>, out: &mut Output) -> Result<Vec<String>, CodecError> {
    let mut picture = Vec::new();
    rows.read_picture(&mut picture)?;
    let coded = compress(spec, &picture)?;
    drop(picture);
    let header = header(spec.size, spec.layout, spec.metadata.icc.as_deref());
    let theirs = their_header_bytes(spec.size, spec.layout);
    let frame = coded
        .get(theirs..)
        .ok_or_else(|| refused(ResultFormat::Jxl, "the encoder's file is not whole"))?;
    write(out, &header, frame, &spec.metadata).map_err(|error| failed(out, ResultFormat::Jxl, error))?;
    Ok(Vec::new())
}

fn compress(spec: &SinkSpec, picture: &[u8]) -> Result<Vec<u8>, CodecError> {
    if spec.layout.channels.has_alpha() && spec.layout.depth == Depth::Sixteen {
        return Err(refused(ResultFormat::Jxl, "alpha has 8 bits"));
    }
    let colours = match spec.layout.channels {
        Channels::Grey => ColorSpace::Luma,
        Channels::GreyAlpha => ColorSpace::LumaA,
        Channels::Rgb => ColorSpace::RGB,
        Channels::Rgba => ColorSpace::RGBA,
    };
    let depth = match spec.layout.depth {
        Depth::Eight => BitDepth::Eight,
        Depth::Sixteen => BitDepth::Sixteen,
    };
    let (width, height) = (spec.size.width as usize, spec.size.height as usize);
    // Room for the worst case at once: to grow, the file would need its room twice.
    let mut coded = Vec::with_capacity(usize::try_from(most_coded_bytes(spec)).unwrap_or(0));
    JxlSimpleEncoder::new(picture, EncoderOptions::new(width, height, colours, depth))
        .encode(&mut coded)
        .map_err(|error| refused(ResultFormat::Jxl, format_args!("{error:?}")))?;
    Ok(coded)
}

/// Our header and the encoder's frame: bare, or in boxes where there is metadata.
fn write(out: &mut Output, header: &[u8], frame: &[u8], metadata: &Carried) -> io::Result<()> {
    if metadata.exif.is_none() && metadata.xmp.is_none() {
        out.write_all(header)?;
        return out.write_all(frame);
    }
    out.write_all(&boxed(b"JXL ", b"\r\n\x87\n"))?;
    out.write_all(&boxed(b"ftyp", b"jxl \0\0\0\0jxl "))?;
    if let Some(exif) = &metadata.exif {
        // Begins with where in it the TIFF header is.
        out.write_all(&boxed(b"Exif", &[&[0; 4], exif.as_slice()].concat()))?;
    }
    if let Some(xmp) = &metadata.xmp {
        out.write_all(&boxed(b"xml ", xmp))?;
    }
    // A length of 0: to the end of the file. Not all readers know lengths of 64 bits.
    let length = u32::try_from(8 + header.len() + frame.len()).unwrap_or(0);
    out.write_all(&length.to_be_bytes())?;
    out.write_all(b"jxlc")?;
    out.write_all(header)?;
    out.write_all(frame)
}

/// Bits from the lowest of each byte upwards.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: usize,
}

impl Bits {
    fn put(&mut self, count: usize, value: u64) {
        for bit in 0..count {
            if self.used.is_multiple_of(8) {
                self.bytes.push(0);
            }
            if let Some(byte) = self.bytes.last_mut() {
                *byte |= ((value >> bit & 1) as u8) << (self.used % 8);
            }
            self.used += 1;
        }
    }

    /// A side of a picture, in one of four lengths.
    fn put_side(&mut self, side: u32) {
        let less_one = u64::from(side - 1);
        let lengths = [9, 13, 18, 30];
        let which = lengths.iter().position(|bits| less_one < 1 << bits).unwrap_or(3);
        self.put(2, which as u64);
        self.put(lengths[which], less_one);
    }

    fn put_depth(&mut self, depth: Depth) {
        self.put(1, 0); // whole numbers
        match depth {
            Depth::Eight => self.put(2, 0),
            Depth::Sixteen => {
                self.put(2, 3);
                self.put(6, 15);
            }
        }
    }
}

fn is_grey(layout: PixelLayout) -> bool {
    matches!(layout.channels, Channels::Grey | Channels::GreyAlpha)
}

/// Signature and size, as everybody writes them.
fn begin(size: Size) -> Bits {
    let mut bits = Bits::default();
    bits.put(16, 0x0AFF);
    bits.put(1, 0); // not a multiple of eight
    bits.put_side(size.height);
    bits.put(3, 0); // no ratio: the width follows
    bits.put_side(size.width);
    bits
}

/// Everything before the frame (ISO/IEC 18181-1, annexes D and E).
fn header(size: Size, layout: PixelLayout, icc: Option<&[u8]>) -> Vec<u8> {
    let mut bits = begin(size);
    bits.put(2, 0); // not all default, no extra fields
    bits.put_depth(layout.depth);
    bits.put(1, u64::from(layout.depth == Depth::Eight)); // 16 bits are enough to decode it
    if layout.channels.has_alpha() {
        bits.put(2, 1);
        bits.put(1, 1); // alpha of 8 bits, not premultiplied: the default
    } else {
        bits.put(2, 0);
    }
    bits.put(1, 0); // not XYB
    put_colours(&mut bits, is_grey(layout), icc.is_some());
    bits.put(2, 0); // no extensions
    bits.put(1, 1); // the usual transforms
    if let Some(icc) = icc {
        put_icc(&mut bits, icc);
    }
    bits.bytes
}

fn put_colours(bits: &mut Bits, is_grey: bool, has_profile: bool) {
    if !has_profile && !is_grey {
        return bits.put(1, 1); // sRGB
    }
    bits.put(1, 0);
    bits.put(1, u64::from(has_profile));
    bits.put(2, u64::from(is_grey));
    if !has_profile {
        bits.put(2, 1); // D65
        bits.put(1, 0); // no gamma
        bits.put(2, 2);
        bits.put(4, 11); // the curve of sRGB: 2 + 11
        bits.put(2, 1); // relative intent
    }
}

/// Length of the header that the encoder writes, which is ours without a profile and with the default alpha.
fn their_header_bytes(size: Size, layout: PixelLayout) -> usize {
    let mut bits = begin(size);
    bits.put(2, 0);
    bits.put_depth(layout.depth);
    bits.put(1, 0);
    bits.put(if layout.channels.has_alpha() { 3 } else { 2 }, 0);
    bits.put(1, 0);
    put_colours(&mut bits, is_grey(layout), false);
    bits.put(3, 0);
    bits.bytes.len()
}

/// Bytes of a profile that are written as differences from what they usually are.
const PROFILE_HEADER_BYTES: usize = 128;

/// The profile (annex E.4): its header as differences, the rest as it is. Its bytes take eight bits each: profiles are
/// small beside pictures.
fn put_icc(bits: &mut Bits, icc: &[u8]) {
    let (head, rest) = icc.split_at(icc.len().min(PROFILE_HEADER_BYTES));
    let mut commands = Vec::new();
    if !rest.is_empty() {
        commands.push(0); // no list of tags
        commands.push(1); // copy so many bytes
        put_varint(&mut commands, rest.len() as u64);
    }
    let mut stream = Vec::with_capacity(icc.len() + 32);
    put_varint(&mut stream, icc.len() as u64);
    put_varint(&mut stream, commands.len() as u64);
    stream.extend(&commands);
    let usual = usual_profile_header(icc);
    stream.extend(
        head.iter()
            .zip(usual)
            .map(|(byte, usual)| byte.wrapping_sub(usual)),
    );
    stream.extend(rest);
    put_u64(bits, stream.len() as u64);
    put_flat_code(bits);
    for byte in stream {
        // Codes begin with their highest bit.
        bits.put(8, u64::from(byte.reverse_bits()));
    }
}

/// Describes a code of 256 symbols, eight bits each, for all 41 contexts.
fn put_flat_code(bits: &mut Bits) {
    bits.put(1, 0); // no LZ77
    bits.put(3, 1); // a simple map: all contexts to one cluster, in no bits
    bits.put(1, 1); // prefix codes
    bits.put(4, 8); // symbols below 2^8 are the numbers themselves
    bits.put(4, 0);
    bits.put(4, 0);
    bits.put(1, 1); // 256 symbols: 1 + 2^7 + 127
    bits.put(4, 7);
    bits.put(7, 127);
    bits.put(2, 0); // lengths of the codes of lengths, in this order:
    for length in [1, 2, 3, 4, 0, 5, 17, 6, 16, 7, 8, 9, 10, 11, 12, 13, 14, 15] {
        // Only a length of 8 exists: its code is empty, whatever length is given to it here (3).
        bits.put(2, if length == 8 { 2 } else { 0 });
    }
}

/// What the bytes of a profile's header usually are.
fn usual_profile_header(icc: &[u8]) -> [u8; PROFILE_HEADER_BYTES] {
    let at = |index: usize| icc.get(index).copied().unwrap_or(0);
    let mut usual = [0; PROFILE_HEADER_BYTES];
    usual[..4].copy_from_slice(&(icc.len() as u32).to_be_bytes());
    usual[8] = 4;
    usual[12..24].copy_from_slice(b"mntrRGB XYZ ");
    usual[36..40].copy_from_slice(b"acsp");
    let platform: &[u8] = match (at(40), at(41)) {
        (b'A', _) => b"\0PPL",
        (b'M', _) => b"\0SFT",
        (b'S', b'G') => b"\0\0I ",
        (b'S', b'U') => b"\0\0NW",
        _ => b"\0\0\0\0",
    };
    usual[40..44].copy_from_slice(platform);
    usual[68..80].copy_from_slice(b"\0\0\xf6\xd6\0\x01\0\0\0\0\xd3\x2d");
    for index in 0..4 {
        usual[80 + index] = at(4 + index);
    }
    usual
}

fn put_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 128 {
        bytes.push(value as u8 | 128);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A number of the header: 12 bits, then eight at a time while there are more.
fn put_u64(bits: &mut Bits, value: u64) {
    match value {
        0 => bits.put(2, 0),
        1..=16 => {
            bits.put(2, 1);
            bits.put(4, value - 1);
        }
        17..=272 => {
            bits.put(2, 2);
            bits.put(8, value - 17);
        }
        _ => {
            bits.put(2, 3);
            bits.put(12, value & 0xfff);
            let mut rest = value >> 12;
            while rest > 0 {
                bits.put(1, 1);
                bits.put(8, rest & 0xff);
                rest >>= 8;
            }
            bits.put(1, 0);
        }
    }
}

/// Tables and what they are made of.
const TABLE_BYTES: u64 = 1 << 20;

/// What each group of 256 × 256 pixels takes besides its samples.
const GROUP_BYTES: u64 = 1024;

/// The most that the samples become: two bytes for one of 8 bits, three for one of 16.
fn most_coded_bytes(spec: &SinkSpec) -> u64 {
    let samples = spec.size.pixels() * spec.layout.channels.count() as u64;
    let room = match spec.layout.depth {
        Depth::Eight => 2,
        Depth::Sixteen => 3,
    };
    let groups = u64::from(spec.size.width.div_ceil(256)) * u64::from(spec.size.height.div_ceil(256));
    samples * room + groups * GROUP_BYTES + TABLE_BYTES / 4
}

/// Most bytes held besides the rows: the picture; room for the worst case, first of each group and then of all.
pub fn bytes(spec: &SinkSpec) -> u64 {
    let picture = spec.layout.row_bytes(spec.size.width) as u64 * u64::from(spec.size.height);
    picture + 2 * most_coded_bytes(spec) + TABLE_BYTES + BUFFER_BYTES as u64
}
