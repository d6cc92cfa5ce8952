//! Owns the pixels of a HEIC, decoded by the system's libheif. Never lets it turn or crop: that is done once, by what
//! the outline says.
//!
//! libheif holds its own memory, for as many pixels as the coded parts say, which the outline has seen and promised.
//! The bindings are these few lines: the functions have been the same since libheif 1.8, and the crates that bind it want
//! versions that the distributions in use do not have.

use std::ffi::{CStr, c_int};
use std::fs::File;
use std::ptr::{self, NonNull};

use image::ImageError;
use image::error::{DecodingError, ImageFormatHint, UnsupportedError, UnsupportedErrorKind};

use super::parts::Parts;
use super::{Bands, Shape, Trouble};
use crate::codec::file::Source;
use crate::codec::layout::{Channels, Depth};
use crate::codec::outline::{Extent, Heif, is_one_picture};
use crate::size::Size;

/// A HEIC whose outline is known.
pub(super) struct Picture {
    file: File,
    heif: Heif,
    bits: u8,
    shape: Shape,
}

impl Picture {
    pub(super) fn new(source: Source, shape: Shape) -> Result<Self, Trouble> {
        Ok(Self {
            file: source.file,
            heif: source.outline.heif.ok_or(Trouble::Changed)?,
            bits: source.outline.stored_bits,
            shape,
        })
    }
}

impl Picture {
    /// Refuses parts for which the decoder would hold more than the outline saw.
    fn insist_on_pictures(&self) -> Result<(), Trouble> {
        let grids = [Some(&self.heif.color), self.heif.alpha.as_ref()];
        for tile in grids.into_iter().flatten().flat_map(|grid| &grid.tiles) {
            let part = Parts::new(&self.file, tile).all().map_err(ImageError::IoError)?;
            if !is_one_picture(&part) {
                return Err(damaged("a part of it is not one picture".to_owned()).into());
            }
        }
        Ok(())
    }
}

impl Bands for Picture {
    fn read(&mut self, rows: &mut [u8]) -> Result<(), Trouble> {
        let bytes = self.file.metadata().map_err(ImageError::IoError)?.len();
        let whole = [Extent { at: 0, bytes }];
        let packed = Parts::new(&self.file, &whole)
            .all()
            .map_err(ImageError::IoError)?;
        self.insist_on_pictures()?;
        let layout = self.shape.layout;
        let (chroma, pixel_bytes) = match (layout.channels.has_alpha(), layout.depth) {
            (false, Depth::Eight) => (sys::INTERLEAVED_RGB, 3),
            (true, Depth::Eight) => (sys::INTERLEAVED_RGBA, 4),
            (false, Depth::Sixteen) => (sys::INTERLEAVED_RRGGBB_LE, 6),
            (true, Depth::Sixteen) => (sys::INTERLEAVED_RRGGBBAA_LE, 8),
        };
        let decoded = decode(&packed, chroma)?;
        let (plane, stride) = decoded.plane(self.heif.color.size, pixel_bytes)?;
        let left = self.heif.left as usize * pixel_bytes;
        let stored_rows = plane.chunks(stride).skip(self.heif.top as usize);
        for (row, stored) in rows.chunks_exact_mut(self.shape.row_bytes()).zip(stored_rows) {
            let stored = stored.get(left..).ok_or(Trouble::Changed)?;
            let pixels = stored.chunks_exact(pixel_bytes);
            for (pixel, stored) in row.chunks_exact_mut(layout.bytes_per_pixel()).zip(pixels) {
                match layout.depth {
                    Depth::Eight => copy(pixel, stored, layout.channels, 1),
                    Depth::Sixteen => {
                        copy(pixel, stored, layout.channels, 2);
                        for sample in pixel.as_chunks_mut::<2>().0 {
                            *sample = widened(u16::from_le_bytes(*sample), self.bits).to_ne_bytes();
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// Of a grey picture libheif gives three times the same.
fn copy(pixel: &mut [u8], stored: &[u8], channels: Channels, sample: usize) {
    match channels {
        Channels::Rgb | Channels::Rgba => pixel.copy_from_slice(stored),
        Channels::Grey => pixel.copy_from_slice(&stored[..sample]),
        Channels::GreyAlpha => {
            pixel[..sample].copy_from_slice(&stored[..sample]);
            pixel[sample..].copy_from_slice(&stored[sample * 3..]);
        }
    }
}

/// The same share of 65535.
fn widened(sample: u16, bits: u8) -> u16 {
    let most = (1u32 << bits.clamp(9, 16)) - 1;
    let value = u32::from(sample).min(most);
    ((value * u32::from(u16::MAX) + most / 2) / most) as u16
}

/// A decoded picture.
struct Decoded(NonNull<sys::Image>);

impl Decoded {
    /// The pixels and the bytes from one row to the next.
    fn plane(&self, size: Size, pixel_bytes: usize) -> Result<(&[u8], usize), Trouble> {
        let mut stride: c_int = 0;
        // SAFETY: the image lives as long as `self`; libheif writes the stride and keeps the pointer valid until then.
        let (plane, width, height) = unsafe {
            let image = self.0.as_ptr();
            (
                sys::heif_image_get_plane_readonly(image, sys::CHANNEL_INTERLEAVED, &raw mut stride),
                sys::heif_image_get_width(image, sys::CHANNEL_INTERLEAVED),
                sys::heif_image_get_height(image, sys::CHANNEL_INTERLEAVED),
            )
        };
        let side = |side: c_int| u32::try_from(side).unwrap_or(0);
        let stride = usize::try_from(stride).unwrap_or(0);
        let rows = size.height as usize;
        if plane.is_null()
            || Size::new(side(width), side(height)) != size
            || stride < size.width as usize * pixel_bytes
            || rows == 0
        {
            return Err(Trouble::Changed);
        }
        // The last row has no padding behind it that anybody promises.
        let bytes = stride * (rows - 1) + size.width as usize * pixel_bytes;
        // SAFETY: libheif holds `height` rows of `stride` bytes there, of which the last one is read up to its pixels'
        // end, and changes none of them while the image lives.
        Ok((unsafe { std::slice::from_raw_parts(plane, bytes) }, stride))
    }
}

impl Drop for Decoded {
    fn drop(&mut self) {
        // SAFETY: it was made by libheif, is released once and not used afterwards.
        unsafe { sys::heif_image_release(self.0.as_ptr()) }
    }
}

/// A context, the picture in it and the options, released in the order in which libheif wants it.
struct Session {
    context: *mut sys::Context,
    handle: *mut sys::Handle,
    options: *mut sys::Options,
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: each was made by libheif or is null, which its functions allow, and none is used afterwards.
        unsafe {
            if !self.options.is_null() {
                sys::heif_decoding_options_free(self.options);
            }
            if !self.handle.is_null() {
                sys::heif_image_handle_release(self.handle);
            }
            if !self.context.is_null() {
                sys::heif_context_free(self.context);
            }
        }
    }
}

fn decode(packed: &[u8], chroma: c_int) -> Result<Decoded, ImageError> {
    let mut session = Session {
        context: ptr::null_mut(),
        handle: ptr::null_mut(),
        options: ptr::null_mut(),
    };
    let mut image = ptr::null_mut();
    // SAFETY: `packed` outlives the session, which reads it without a copy; every pointer that goes in was checked or
    // is one that libheif may write to; errors are read before the context that owns their text is freed.
    unsafe {
        session.context = sys::heif_context_alloc();
        if session.context.is_null() {
            return Err(damaged("libheif has no memory".to_owned()));
        }
        sys::heif_context_set_max_decoding_threads(session.context, 1);
        told(sys::heif_context_read_from_memory_without_copy(
            session.context,
            packed.as_ptr().cast(),
            packed.len(),
            ptr::null(),
        ))?;
        told(sys::heif_context_get_primary_image_handle(
            session.context,
            &raw mut session.handle,
        ))?;
        session.options = sys::heif_decoding_options_alloc();
        if session.options.is_null() {
            return Err(damaged("libheif has no memory".to_owned()));
        }
        (*session.options).ignore_transformations = 1;
        told(sys::heif_decode_image(
            session.handle,
            &raw mut image,
            sys::COLORSPACE_RGB,
            chroma,
            session.options,
        ))?;
    }
    NonNull::new(image)
        .map(Decoded)
        .ok_or_else(|| damaged("libheif gives no picture".to_owned()))
}

/// What libheif says, if it is not that all is well.
fn told(error: sys::Error) -> Result<(), ImageError> {
    if error.code == sys::OK {
        return Ok(());
    }
    let text = if error.message.is_null() {
        "no reason given".to_owned()
    } else {
        // SAFETY: libheif's messages are texts that end with a zero and live as long as the context.
        unsafe { CStr::from_ptr(error.message) }
            .to_string_lossy()
            .into_owned()
    };
    if matches!(error.code, sys::UNSUPPORTED_FILETYPE | sys::UNSUPPORTED_FEATURE) {
        let what = format!("{text}; libheif may lack its HEVC decoder, which is a package of its own");
        return Err(ImageError::Unsupported(UnsupportedError::from_format_and_kind(
            hint(),
            UnsupportedErrorKind::GenericFeature(what),
        )));
    }
    Err(damaged(text))
}

fn hint() -> ImageFormatHint {
    ImageFormatHint::Name("HEIC".to_owned())
}

fn damaged(what: String) -> ImageError {
    ImageError::Decoding(DecodingError::new(hint(), what))
}

/// What is used of `libheif/heif.h`.
mod sys {
    use std::ffi::{c_char, c_int, c_void};

    pub(super) const OK: c_int = 0;
    pub(super) const UNSUPPORTED_FILETYPE: c_int = 3;
    pub(super) const UNSUPPORTED_FEATURE: c_int = 4;
    pub(super) const COLORSPACE_RGB: c_int = 1;
    pub(super) const INTERLEAVED_RGB: c_int = 10;
    pub(super) const INTERLEAVED_RGBA: c_int = 11;
    pub(super) const INTERLEAVED_RRGGBB_LE: c_int = 14;
    pub(super) const INTERLEAVED_RRGGBBAA_LE: c_int = 15;
    pub(super) const CHANNEL_INTERLEAVED: c_int = 10;

    pub(super) enum Context {}
    pub(super) enum Handle {}
    pub(super) enum Image {}

    /// The beginning of it, which never changed; libheif makes them itself.
    #[repr(C)]
    pub(super) struct Options {
        version: u8,
        pub(super) ignore_transformations: u8,
    }

    #[repr(C)]
    pub(super) struct Error {
        pub(super) code: c_int,
        pub(super) subcode: c_int,
        pub(super) message: *const c_char,
    }

    #[link(name = "heif")]
    unsafe extern "C" {
        pub(super) fn heif_context_alloc() -> *mut Context;
        pub(super) fn heif_context_free(context: *mut Context);
        pub(super) fn heif_context_set_max_decoding_threads(context: *mut Context, threads: c_int);
        pub(super) fn heif_context_read_from_memory_without_copy(
            context: *mut Context,
            bytes: *const c_void,
            length: usize,
            options: *const c_void,
        ) -> Error;
        pub(super) fn heif_context_get_primary_image_handle(
            context: *mut Context,
            handle: *mut *mut Handle,
        ) -> Error;
        pub(super) fn heif_image_handle_release(handle: *mut Handle);
        pub(super) fn heif_decoding_options_alloc() -> *mut Options;
        pub(super) fn heif_decoding_options_free(options: *mut Options);
        pub(super) fn heif_decode_image(
            handle: *mut Handle,
            image: *mut *mut Image,
            colorspace: c_int,
            chroma: c_int,
            options: *const Options,
        ) -> Error;
        pub(super) fn heif_image_release(image: *mut Image);
        pub(super) fn heif_image_get_width(image: *const Image, channel: c_int) -> c_int;
        pub(super) fn heif_image_get_height(image: *const Image, channel: c_int) -> c_int;
        pub(super) fn heif_image_get_plane_readonly(
            image: *const Image,
            channel: c_int,
            stride: *mut c_int,
        ) -> *const u8;
    }
}
