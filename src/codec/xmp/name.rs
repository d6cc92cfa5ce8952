//! Owns the namespaces of XMP that photos use, and what their properties mean for a result. Never reads a packet.

use super::super::turn::{Turn, scaled};

pub(super) const RDF: &str = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
pub(super) const XMP: &str = "http://ns.adobe.com/xap/1.0/";
pub(super) const XMP_MM: &str = "http://ns.adobe.com/xap/1.0/mm/";
pub(super) const EVENT: &str = "http://ns.adobe.com/xap/1.0/sType/ResourceEvent#";
pub(super) const NOTE: &str = "http://ns.adobe.com/xmp/note/";
pub(super) const EXIF: &str = "http://ns.adobe.com/exif/1.0/";
pub(super) const REGIONS: &str = "http://www.metadataworkinggroup.com/schemas/regions/";
pub(super) const DC: &str = "http://purl.org/dc/elements/1.1/";
pub(super) const PHOTOSHOP: &str = "http://ns.adobe.com/photoshop/1.0/";
/// Stands for the declaration of namespaces; no packet can bind it.
pub(super) const XMLNS: &str = "http://www.w3.org/2000/xmlns/";

const TIFF: &str = "http://ns.adobe.com/tiff/1.0/";
const PANORAMA: &str = "http://ns.google.com/photos/1.0/panorama/";
const DIMENSIONS: &str = "http://ns.adobe.com/xap/1.0/sType/Dimensions#";
const GAIN_MAP: &str = "http://ns.adobe.com/hdr-gain-map/1.0/";
const APPLE_GAIN_MAP: &str = "http://ns.apple.com/HDRGainMap/1.0/";
const CAMERA: &str = "http://ns.google.com/photos/1.0/camera/";
const ONEPLUS: &str = "http://ns.oneplus.com/media/1.0/";
const CONTAINER: &str = "http://ns.google.com/photos/1.0/container/";
const DYNAMIC_DEPTH: &str = "http://ns.google.com/photos/dd/1.0/";
const GEO: &str = "http://www.w3.org/2003/01/geo/wgs84_pos#";

/// What lies in a file beside its picture and is not carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Payload {
    GainMap,
    Video,
    /// Of which only the list is known.
    Listed,
}

/// The payload that a property describes.
pub(super) fn payload(ns: &str, local: &str) -> Option<Payload> {
    match ns {
        GAIN_MAP | APPLE_GAIN_MAP => Some(Payload::GainMap),
        CAMERA if local.starts_with("MotionPhoto") || local.starts_with("MicroVideo") => Some(Payload::Video),
        ONEPLUS => Some(Payload::Video),
        CONTAINER => Some(Payload::Listed),
        _ if ns.starts_with(DYNAMIC_DEPTH) => Some(Payload::Listed),
        _ => None,
    }
}

/// Whether a property shows the source, small, or belongs to how the packet was stored.
pub(super) fn is_stale(ns: &str, local: &str) -> bool {
    (ns == XMP && local == "Thumbnails") || (ns == NOTE && local == "HasExtendedXMP")
}

/// Whether a property holds coordinates, of whichever program. The names of places are words that somebody chose to
/// write, and stay.
pub(super) fn is_place(ns: &str, local: &str) -> bool {
    let local = local.to_ascii_lowercase();
    ns == GEO
        || local.starts_with("gps")
        || ["latitude", "longitude", "longtitude"]
            .iter()
            .any(|word| local.contains(word))
}

/// The number that a property of the picture must have now.
pub(super) fn number(ns: &str, local: &str, old: &str, turn: Turn) -> Option<u32> {
    let size = turn.result();
    match (ns, local) {
        // Nobody turned the pixels: who follows this tag is to see what they saw before.
        (TIFF, "Orientation") => (!turn.is_none()).then_some(1),
        (TIFF, "ImageWidth") | (EXIF, "PixelXDimension") => Some(size.width),
        (TIFF, "ImageLength") | (EXIF, "PixelYDimension") => Some(size.height),
        (PANORAMA, _) => {
            let old = old.trim().parse().ok()?;
            let is_size = local.ends_with("Pixels") || local.starts_with("LargestValidInteriorRect");
            match local {
                _ if !is_size => None,
                _ if local.contains("Width") || local.contains("Left") => Some(scaled(old, turn.across())),
                _ if local.contains("Height") || local.contains("Top") => Some(scaled(old, turn.down())),
                _ => None,
            }
        }
        _ => None,
    }
}

/// A side of the picture that regions refer to. Where the picture was turned, nobody knows whether they had been
/// before.
pub(super) fn side(ns: &str, local: &str, turn: Turn) -> Option<u32> {
    match (ns, local) {
        (DIMENSIONS, "w") if turn.is_none() => Some(turn.result().width),
        (DIMENSIONS, "h") if turn.is_none() => Some(turn.result().height),
        _ => None,
    }
}
