//! Owns the reasons for which a TIFF's page is not processed, in words. Never reads a file.

use super::REDUCED_OR_MASK;
use super::page::{Compression, Page, Photometric, stored_colors};

impl Page {
    /// Why such a picture is not processed, and what to do.
    pub(super) fn refusal(&self) -> Option<String> {
        let raw = "it is a camera raw file; develop it and save it as TIFF or JPEG";
        if matches!(self.photometric, 32_803 | 34_892)
            || self.is_dng
            || self.subfile & REDUCED_OR_MASK != 0 && self.has_sub_pictures
        {
            return Some(raw.to_owned());
        }
        let kind = match self.photometric() {
            _ if self.photometric == 4 => "that is only a mask".to_owned(),
            _ if matches!(self.photometric, 32_844 | 32_845) => "in LogLuv".to_owned(),
            None => "of an unknown colour space".to_owned(),
            Some(_) if self.compression().is_none() => return Some(self.compression_refusal()),
            Some(photometric) => self.samples_refusal(photometric)?,
        };
        Some(format!("it is a TIFF {kind}; save it as RGB with 8 or 16 bits"))
    }

    fn compression_refusal(&self) -> String {
        let name = match self.compression {
            2 => "CCITT RLE".to_owned(),
            6 => "JPEG of the old kind".to_owned(),
            34_712 => "JPEG 2000".to_owned(),
            34_887 => "LERC".to_owned(),
            34_925 => "LZMA".to_owned(),
            50_000 => "ZSTD".to_owned(),
            50_001 => "WebP".to_owned(),
            50_002 | 52_546 => "JPEG XL".to_owned(),
            other => format!("method {other}"),
        };
        format!("it is a TIFF compressed with {name}; save it with LZW, deflate or no compression")
    }

    /// What is wrong with samples of a known kind.
    fn samples_refusal(&self, photometric: Photometric) -> Option<String> {
        let colors = stored_colors(photometric);
        let bits = self.bits;
        let fits = match (photometric, self.is_float()) {
            (Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Rgb, true) => {
                matches!(bits, 16 | 32 | 64)
            }
            (_, true) => return Some("of floating-point samples that are neither grey nor RGB".to_owned()),
            (Photometric::WhiteIsZero | Photometric::BlackIsZero | Photometric::Rgb, false) => {
                (1..=16).contains(&bits)
            }
            (Photometric::Palette, false) => (1..=8).contains(&bits) && self.palette.len() == 3 << bits,
            (Photometric::YCbCr, false) => bits == 8,
            (_, false) => matches!(bits, 8 | 16),
        };
        let one_bit_grey = bits == 1 && self.samples == 1;
        // Differences of colours are signed in some writers' words.
        if self.sample_format == 2 && photometric != Photometric::CieLab {
            return Some("of signed samples".to_owned());
        }
        if self.samples < colors {
            return Some(format!("of {} samples where {colors} are needed", self.samples));
        }
        if !fits {
            return Some(format!("of {bits}-bit samples"));
        }
        match self.compression() {
            Some(Compression::Jpeg) if bits != 8 => Some("of JPEGs with more than 8 bits".to_owned()),
            Some(Compression::Fax3 | Compression::Fax4) if !one_bit_grey => {
                Some("of faxes with colours".to_owned())
            }
            Some(Compression::Fax3) if self.fax_options & 1 != 0 => {
                Some("compressed as a two-dimensional fax (CCITT G3)".to_owned())
            }
            Some(Compression::Fax3 | Compression::Fax4) if self.width > u64::from(u16::MAX) => {
                Some("of a fax that is too wide".to_owned())
            }
            compression
                if photometric == Photometric::YCbCr
                    && compression != Some(Compression::Jpeg)
                    && self.subsampling != [1, 1] =>
            {
                Some("in YCbCr with halved colours".to_owned())
            }
            _ if photometric == Photometric::Cmyk && self.ink_set != 1 => {
                Some("of other inks than CMYK".to_owned())
            }
            _ if !matches!(self.predictor(), 1..=3) || self.predictor() == 3 && !self.is_float() => {
                Some("with an unknown predictor".to_owned())
            }
            _ if self.predictor() == 2 && !matches!(bits, 8 | 16 | 32 | 64) => {
                Some(format!("with a predictor for {bits}-bit samples"))
            }
            _ => None,
        }
    }
}
