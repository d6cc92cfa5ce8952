//! Owns Photoshop's blocks of resources, in which IPTC, paths and print settings travel: one after the other, each with
//! a number, a name and its data. Reads hostile blocks: what is damaged ends the search.

use crate::codec::turn::Turn;

/// Begins a resource.
const SIGNATURE: &[u8] = b"8BIM";

const RESOLUTION: u16 = 1005;
const IPTC: u16 = 1028;
const PIXEL_ASPECT: u16 = 1064;

/// Half of what [`RESOLUTION`] holds: pixels across, then down, each with units.
const RESOLUTION_HALF_BYTES: usize = 8;

/// A resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Resource<'a> {
    id: u16,
    /// Signature, number, name and the length of the data.
    head: &'a [u8],
    data: &'a [u8],
}

/// All resources of a block, up to where it is damaged.
fn all(block: &[u8]) -> impl Iterator<Item = Resource<'_>> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let (resource, behind) = first(rest)?;
        rest = behind;
        Some(resource)
    })
}

/// The first resource, and what lies behind it.
fn first(block: &[u8]) -> Option<(Resource<'_>, &[u8])> {
    let resource = block.strip_prefix(SIGNATURE)?;
    let id = u16::from_be_bytes(*resource.first_chunk()?);
    // A name with its length, then the length of the data; each padded to an even number.
    let name = (usize::from(*resource.get(2)?) + 1).next_multiple_of(2);
    let length = u32::from_be_bytes(*resource.get(2 + name..)?.first_chunk()?) as usize;
    let (head, behind) = block.split_at_checked(SIGNATURE.len() + 2 + name + 4)?;
    let data = behind.get(..length)?;
    // The last one may lack what pads it.
    let behind = behind.get(length.next_multiple_of(2)..).unwrap_or_default();
    Some((Resource { id, head, data }, behind))
}

/// The records of IPTC in a block.
pub(in super::super) fn iptc(block: &[u8]) -> Option<&[u8]> {
    all(block)
        .find(|resource| resource.id == IPTC)
        .map(|found| found.data)
}

/// What of a block is true for another picture, too: a block of its own.
pub(in super::super) fn kept(block: &[u8]) -> Vec<u8> {
    let mut kept = Vec::new();
    for resource in all(block).filter(|resource| !is_of_the_pixels(resource.id)) {
        append(&mut kept, resource.head, resource.data);
    }
    kept
}

/// Whether a resource is told elsewhere, or describes what the result has no more: the source's pixels, its layers and
/// channels, how they were compressed, a small version of them.
fn is_of_the_pixels(id: u16) -> bool {
    match id {
        // IPTC, EXIF twice, XMP, ICC profile and that there is none on purpose: carried by themselves.
        1028 | 1058..=1060 | 1039 | 1041 => true,
        // Thumbnails; quality of the JPEG; with which Photoshop it was saved.
        1033 | 1036 | 1030 | 1057 => true,
        // In pixels: guides, slices, things that were counted.
        1032 | 1050 | 1080 => true,
        // Layers and their groups, comps, which are selected.
        1024 | 1026 | 1065 | 1069 | 1072 => true,
        // Channels: their names, colours and numbers, and spot colours.
        1006 | 1007 | 1045 | 1053 | 1066 | 1067 | 1077 => true,
        // Whatever plug-ins put there, web pages, what Lightroom is in the middle of.
        4000..=4999 | 7000..=8000 => true,
        _ => false,
    }
}

/// A block for the upright picture, and whether paths were left out: they are in fractions of the sides of the picture
/// as it was.
pub(in super::super) fn turned(block: &[u8], turn: Turn) -> (Vec<u8>, bool) {
    let (mut turned, mut lost_paths) = (Vec::new(), false);
    for resource in all(block) {
        match resource.id {
            2000..=3000 if !turn.is_none() => lost_paths = true,
            PIXEL_ASPECT if turn.swaps() => {}
            RESOLUTION if turn.swaps() && resource.data.len() == 2 * RESOLUTION_HALF_BYTES => {
                let (across, down) = resource.data.split_at(RESOLUTION_HALF_BYTES);
                append(&mut turned, resource.head, &[down, across].concat());
            }
            _ => append(&mut turned, resource.head, resource.data),
        }
    }
    (turned, lost_paths)
}

/// Whether a block says more than every file of Photoshop's does: the resolution, which has places of its own, angles
/// of light for layers, numbers for what comes next, a digest of IPTC.
pub(in super::super) fn is_telling(block: &[u8]) -> bool {
    all(block).any(|resource| !matches!(resource.id, RESOLUTION | 1037 | 1044 | 1049 | 1061))
}

/// Records of IPTC as a resource, without a name.
pub(in super::super) fn of_iptc(records: &[u8]) -> Vec<u8> {
    let length = (records.len() as u32).to_be_bytes();
    let mut block = Vec::new();
    append(&mut block, &[b"8BIM\x04\x04\0\0", &length[..]].concat(), records);
    block
}

fn append(block: &mut Vec<u8>, head: &[u8], data: &[u8]) {
    block.extend(head);
    block.extend(data);
    block.extend(&[0][..data.len() % 2]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;
    use proptest::prelude::*;

    fn resource(id: u16, data: &[u8]) -> Vec<u8> {
        let mut block = Vec::new();
        let head = [
            b"8BIM",
            &id.to_be_bytes()[..],
            b"\x03dpi",
            &(data.len() as u32).to_be_bytes(),
        ]
        .concat();
        append(&mut block, &head, data);
        block
    }

    fn turn(orientation: u8) -> Turn {
        Turn::new(orientation, Size::new(4, 3), Size::new(8, 6))
    }

    #[test]
    fn records_are_found_among_other_resources_and_a_wrong_length_ends_the_search() {
        let mut block = resource(1005, b"abc");
        assert_eq!(iptc(&block), None);
        block.extend(of_iptc(b"\x1c\x02\x05\0\0"));
        assert_eq!(iptc(&block), Some(&b"\x1c\x02\x05\0\0"[..]));
        for length in 0..block.len() {
            let _ = (iptc(&block[..length]), kept(&block[..length]));
        }
        // Without what pads it.
        assert!(iptc(&block[..block.len() - 1]).is_some());
        assert_eq!(iptc(b"8BIM\x04\x04\0\0\xff\xff\xff\xff"), None);
        assert_eq!(iptc(b"8BIM\x03\xed\0\0\xff\xff\xff\xff\0"), None);
    }

    #[test]
    fn what_tells_of_the_sources_pixels_stays_behind_and_the_rest_is_kept_to_the_byte() {
        let stays = [
            resource(1034, b"\x01"),
            resource(2000, b"a path"),
            resource(10_000, b"print"),
        ]
        .concat();
        let goes = [1033, 1036, 1058, 1060, 1039, 1028, 1050, 4321].map(|id| resource(id, b"stale"));
        let block = [goes.concat(), stays.clone(), goes.concat(), b"junk".to_vec()].concat();
        assert_eq!(kept(&block), stays);
        assert_eq!(turned(&stays, turn(1)), (stays.clone(), false));
        assert!(is_telling(&stays) && !is_telling(&resource(1005, &[0; 16])));
    }

    #[test]
    fn a_turned_picture_has_its_resolution_turned_and_no_paths() {
        let resolution = resource(1005, b"across..down....");
        let block = [
            resource(2999, b"path"),
            resolution.clone(),
            resource(1064, &[1; 12]),
        ]
        .concat();
        let wanted = resource(1005, b"down....across..");
        assert_eq!(turned(&block, turn(6)), (wanted, true));
        let wanted = [resolution, resource(1064, &[1; 12])].concat();
        assert_eq!(turned(&block, turn(3)), (wanted, true));
    }

    proptest! {
        #[test]
        fn any_block_is_taken_apart_and_what_is_kept_is_kept_again(
            parts in proptest::collection::vec((0..1100_u16, proptest::collection::vec(any::<u8>(), 0..9)), 0..5),
            junk in proptest::collection::vec(any::<u8>(), 0..20),
            orientation in 0..9_u8,
        ) {
            let mut block: Vec<u8> = parts.iter().flat_map(|(id, data)| resource(*id, data)).collect();
            block.extend(junk);
            let once = kept(&block);
            prop_assert_eq!(&kept(&once), &once);
            let (turned, _) = turned(&once, turn(orientation));
            prop_assert_eq!(kept(&turned), turned);
        }
    }
}
