//! Owns what a result takes along of its source besides pixels: ICC profile, EXIF, XMP, IPTC and what else
//! its file says. Never fails a job.

use super::exif_patch::{self, Malformed, Place};
use super::exif_place;
use super::layout::{Channels, ResultFormat, SourceFormat};
use super::notes::{self, Notes};
use super::probe::ImageHeader;
use super::turn::Turn;
use super::xmp::{self, Provenance, SIGNATURE_BYTES};
use crate::config::MetadataPolicy;
use crate::size::Size;

/// What goes into the result.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carried {
    /// ICC profile.
    pub icc: Option<Vec<u8>>,
    /// EXIF as a TIFF structure, already true for the result: upright, its size, GPS as the policy says.
    pub exif: Option<Vec<u8>>,
    /// XMP: the packet, already true for the result.
    pub xmp: Option<Vec<u8>>,
    /// IPTC: the records.
    pub iptc: Option<Vec<u8>>,
    /// Comments, texts, resources of Photoshop, resolution.
    pub notes: Notes,
}

impl Carried {
    /// Most bytes that all of it has, once it is signed.
    pub(super) fn bytes(&self) -> u64 {
        let parts = [&self.icc, &self.exif, &self.xmp, &self.iptc];
        let bytes: usize = parts.into_iter().flatten().map(Vec::len).sum();
        (bytes + self.notes.bytes()) as u64 + SIGNATURE_BYTES
    }

    /// Writes down in XMP what made the result. Not for a result that is to tell nothing.
    pub fn sign(&mut self, provenance: &Provenance) {
        // What `carry` took along can be read: it has just been changed.
        if let Ok(signed) = xmp::sign(self.xmp.as_deref(), provenance) {
            self.xmp = Some(signed);
        }
    }
}

/// What of the source's metadata the result takes along, and a warning for each thing it cannot. What exceeds
/// a format's own limits is left to the encoder, which knows them.
pub fn carry(
    header: &ImageHeader,
    format: ResultFormat,
    size: Size,
    policy: MetadataPolicy,
) -> (Carried, Vec<String>) {
    let mut warnings = Vec::new();
    let icc = icc(header, format, &mut warnings);
    let place = match policy {
        MetadataPolicy::Keep => Place::Keep,
        MetadataPolicy::KeepNoGps => Place::Erase,
        MetadataPolicy::Strip => {
            return (
                Carried {
                    icc,
                    ..Carried::default()
                },
                warnings,
            );
        }
    };
    let turn = Turn::new(header.orientation, header.stored, size);
    let mut carried = Carried {
        icc,
        exif: exif(header, format, turn, place, &mut warnings),
        xmp: xmp(header, turn, place, &mut warnings),
        iptc: header.iptc.clone(),
        notes: header.notes.clone(),
    };
    notes::settle(&mut carried, format, turn, place, &mut warnings);
    (carried, warnings)
}

/// A sidecar's XMP, true for the result and signed; `None` if it cannot be read.
pub fn carry_sidecar(
    packet: &[u8],
    turn: Turn,
    policy: MetadataPolicy,
    provenance: &Provenance,
) -> Option<Vec<u8>> {
    let place = match policy {
        MetadataPolicy::Keep => Place::Keep,
        MetadataPolicy::KeepNoGps => Place::Erase,
        MetadataPolicy::Strip => return None,
    };
    let patched = xmp::patch(packet, turn, place).ok()?;
    xmp::sign(Some(&patched), provenance).ok()
}

/// The profile, unless it is for grey and the format makes colours of grey.
fn icc(header: &ImageHeader, format: ResultFormat, warnings: &mut Vec<String>) -> Option<Vec<u8>> {
    let profile = header.icc.clone()?;
    let grey = matches!(header.layout.channels, Channels::Grey | Channels::GreyAlpha);
    if grey && format == ResultFormat::Webp {
        warnings.push("ICC profile was not carried: it is for grey, and webp has only colours".to_owned());
        return None;
    }
    Some(profile)
}

fn exif(
    header: &ImageHeader,
    format: ResultFormat,
    turn: Turn,
    place: Place,
    warnings: &mut Vec<String>,
) -> Option<Vec<u8>> {
    let mut exif = header.exif.clone()?;
    let mut patched = exif_patch::patch(&mut exif, turn, place);
    if format == ResultFormat::Tiff && header.format != SourceFormat::Tiff {
        patched = patched.and_then(|()| exif_place::forget_jpeg(&mut exif));
    }
    match patched {
        Ok(()) => Some(exif),
        Err(Malformed) => {
            warnings.push("EXIF was not carried: it is damaged".to_owned());
            None
        }
    }
}

fn xmp(header: &ImageHeader, turn: Turn, place: Place, warnings: &mut Vec<String>) -> Option<Vec<u8>> {
    let packet = header.xmp.as_deref()?;
    match xmp::patch(packet, turn, place) {
        Ok(patched) => {
            // Regions are in fractions of a side, of the picture as it was stored or as it was shown.
            if !turn.is_none() && xmp::said(packet).is_ok_and(|said| said.regions) {
                warnings.push(
                    "regions in the XMP, such as faces, were kept as they were: the picture was turned, and they may \
                     be elsewhere"
                        .to_owned(),
                );
            }
            Some(patched)
        }
        Err(xmp::Malformed) => {
            warnings.push("XMP was not carried: it is damaged".to_owned());
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::layout::{Depth, PixelLayout};
    use crate::codec::sequence::Sequence;

    fn header(channels: Channels) -> ImageHeader {
        ImageHeader {
            format: SourceFormat::Png,
            stored: Size::new(4, 3),
            layout: PixelLayout {
                channels,
                depth: Depth::Eight,
            },
            stored_bits: 8,
            orientation: 1,
            icc: Some(vec![7; 200]),
            exif: Some(b"II\x2a\0\x08\0\0\0\0\0\0\0\0\0".to_vec()),
            xmp: None,
            iptc: None,
            notes: Notes::default(),
            sequence: Sequence::Single,
            warnings: Vec::new(),
            decode_bytes: 0,
        }
    }

    #[test]
    fn a_profile_for_grey_does_not_go_into_a_format_of_colours() {
        for (channels, format, kept) in [
            (Channels::Grey, ResultFormat::Webp, false),
            (Channels::GreyAlpha, ResultFormat::Webp, false),
            (Channels::Grey, ResultFormat::Jpeg, true),
            (Channels::GreyAlpha, ResultFormat::Png, true),
            (Channels::Rgb, ResultFormat::Webp, true),
        ] {
            let (carried, warnings) = carry(&header(channels), format, Size::new(8, 6), MetadataPolicy::Keep);
            assert_eq!(carried.icc.is_some(), kept, "{channels:?} {format:?}");
            assert_eq!(warnings.len(), usize::from(!kept), "{warnings:?}");
        }
    }

    #[test]
    fn strip_keeps_only_what_the_colours_need_and_says_nothing() {
        let (carried, warnings) = carry(
            &header(Channels::Rgb),
            ResultFormat::Png,
            Size::new(8, 6),
            MetadataPolicy::Strip,
        );
        assert!(carried.icc.is_some());
        assert_eq!(carried.exif, None);
        assert!(warnings.is_empty());
    }

    #[test]
    fn damaged_exif_is_left_out_with_a_word() {
        let mut header = header(Channels::Rgb);
        header.exif = Some(b"II\x2a\0\xff\xff\0\0".to_vec());
        for policy in [MetadataPolicy::Keep, MetadataPolicy::KeepNoGps] {
            let (carried, warnings) = carry(&header, ResultFormat::Jpeg, Size::new(8, 6), policy);
            assert_eq!(carried.exif, None);
            assert_eq!(warnings, ["EXIF was not carried: it is damaged"]);
        }
    }
}
