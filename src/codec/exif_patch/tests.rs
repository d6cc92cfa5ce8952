use proptest::prelude::*;

use super::*;
use crate::size::Size;

const MAKER_NOTE: &[u8] = b"MAKER\0\x01\x02\x03offsets inside";
const LATITUDE: &[u8] = b"latitude: 3 x 8 bytes...";
const GPS_DATE: &[u8] = b"2024:05:01\0";
const XMP: &[u8] = b"<x:xmpmeta exif:GPSLatitude='52'/>";
const THUMBNAIL: &[u8] = b"\xff\xd8 the source, small \xff\xd9";

/// Lays a block out as cameras do: directories, each followed by its values.
struct Builder {
    little: bool,
    bytes: Vec<u8>,
}

/// Tag, type, count and the value's bytes.
type Entry<'a> = (u16, u16, u32, &'a [u8]);

impl Builder {
    fn new(little: bool) -> Self {
        let mut builder = Self {
            little,
            bytes: if little { b"II".to_vec() } else { b"MM".to_vec() },
        };
        builder.push_u16(42);
        builder.push_u32(8);
        builder
    }

    fn number(&self, value: u32) -> [u8; 4] {
        if self.little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    fn short(&self, value: u16) -> [u8; 2] {
        if self.little {
            value.to_le_bytes()
        } else {
            value.to_be_bytes()
        }
    }

    fn push_u16(&mut self, value: u16) {
        self.bytes.extend(self.short(value));
    }

    fn push_u32(&mut self, value: u32) {
        self.bytes.extend(self.number(value));
    }

    /// Appends a directory; tells where.
    fn directory(&mut self, entries: &[Entry<'_>], next: u32) -> u32 {
        let at = self.bytes.len() as u32;
        let mut values_at = at + 2 + 12 * entries.len() as u32 + 4;
        let mut values = Vec::new();
        self.push_u16(entries.len() as u16);
        for &(tag, kind, count, value) in entries {
            self.push_u16(tag);
            self.push_u16(kind);
            self.push_u32(count);
            if value.len() <= 4 {
                let mut field = [0; 4];
                field[..value.len()].copy_from_slice(value);
                self.bytes.extend(field);
            } else {
                self.push_u32(values_at);
                values_at += value.len() as u32;
                values.extend_from_slice(value);
            }
        }
        self.push_u32(next);
        self.bytes.extend(values);
        at
    }
}

/// What a phone writes: a primary directory with XMP, details with a MakerNote, a place, a thumbnail.
fn phone(little: bool) -> Vec<u8> {
    let mut builder = Builder::new(little);
    let one = |value: u16| builder.short(value);
    let (orientation, width, side) = (one(6), one(4000), one(3000));
    let primary = |builder: &mut Builder, details: u32, gps: u32, next: u32| {
        let (details, gps) = (builder.number(details), builder.number(gps));
        let entries: [Entry<'_>; 7] = [
            (tag::IMAGE_WIDTH, SHORT, 1, &width),
            (tag::IMAGE_LENGTH, SHORT, 1, &side),
            (0x010f, 2, 8, b"Camera!\0"),
            (tag::ORIENTATION, SHORT, 1, &orientation),
            (tag::XMP, 1, XMP.len() as u32, XMP),
            (tag::EXIF_DIRECTORY, LONG, 1, &details),
            (tag::GPS_DIRECTORY, LONG, 1, &gps),
        ];
        builder.directory(&entries, next);
    };
    // Twice: the first time to learn where the others will be.
    primary(&mut builder, 0, 0, 0);
    let long_height = builder.number(3000);
    let details = builder.directory(
        &[
            (tag::MAKER_NOTE, 7, MAKER_NOTE.len() as u32, MAKER_NOTE),
            (tag::PIXEL_X_DIMENSION, SHORT, 1, &width),
            (tag::PIXEL_Y_DIMENSION, LONG, 1, &long_height),
        ],
        0,
    );
    let gps = builder.directory(
        &[
            (1, 2, 2, b"N\0"),
            (2, 5, 3, LATITUDE),
            (29, 2, GPS_DATE.len() as u32, GPS_DATE),
        ],
        0,
    );
    let thumbnail = builder.directory(&[(0x0201, LONG, 1, &[0; 4])], 0);
    builder.bytes.extend_from_slice(THUMBNAIL);
    let mut head = Builder::new(little);
    primary(&mut head, details, gps, thumbnail);
    builder.bytes[..head.bytes.len()].copy_from_slice(&head.bytes);
    builder.bytes
}

fn enlarged(size: Size) -> Turn {
    Turn::new(1, Size::new(4000, 3000), size)
}

fn patched(mut exif: Vec<u8>, size: Size, place: Place) -> Vec<u8> {
    patch(&mut exif, enlarged(size), place).expect("well-formed");
    exif
}

/// Type and number of an entry in the primary directory, or in the details.
fn value(exif: &[u8], tag: u16) -> Option<(u16, u32)> {
    let mut bytes = exif.to_vec();
    let block = Block::parse(&mut bytes).unwrap();
    let primary = block.directory(block.first().unwrap()).unwrap();
    let details = block.pointer(&primary, tag::EXIF_DIRECTORY).unwrap();
    let details = block.directory(details.unwrap()).unwrap();
    [primary, details].iter().find_map(|directory| {
        let at = block.find(directory, tag)?;
        let kind = block.u16(at + 2).unwrap();
        assert_eq!(block.u32(at + 4), Ok(1));
        let number = match kind {
            SHORT => u32::from(block.u16(at + 8).unwrap()),
            _ => block.u32(at + 8).unwrap(),
        };
        Some((kind, number))
    })
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn the_result_is_upright_and_of_its_own_size_in_both_byte_orders() {
    for little in [true, false] {
        let exif = patched(phone(little), Size::new(12_000, 16_000), Place::Keep);
        assert_eq!(value(&exif, tag::ORIENTATION), Some((SHORT, 1)));
        assert_eq!(value(&exif, tag::IMAGE_WIDTH), Some((SHORT, 12_000)));
        assert_eq!(value(&exif, tag::IMAGE_LENGTH), Some((SHORT, 16_000)));
        assert_eq!(value(&exif, tag::PIXEL_X_DIMENSION), Some((SHORT, 12_000)));
        assert_eq!(value(&exif, tag::PIXEL_Y_DIMENSION), Some((LONG, 16_000)));
    }
}

#[test]
fn a_side_that_no_short_can_hold_becomes_a_long_in_its_place() {
    for little in [true, false] {
        let exif = patched(phone(little), Size::new(70_000, 65_535), Place::Keep);
        assert_eq!(value(&exif, tag::IMAGE_WIDTH), Some((LONG, 70_000)));
        assert_eq!(value(&exif, tag::IMAGE_LENGTH), Some((SHORT, 65_535)));
        assert_eq!(value(&exif, tag::PIXEL_X_DIMENSION), Some((LONG, 70_000)));
    }
}

#[test]
fn the_maker_note_stays_where_its_own_offsets_expect_it() {
    for little in [true, false] {
        for place in [Place::Keep, Place::Erase] {
            let before = phone(little);
            let after = patched(before.clone(), Size::new(70_000, 9), place);
            assert_eq!(after.len(), before.len());
            assert_eq!(find(&after, MAKER_NOTE), find(&before, MAKER_NOTE));
            assert_eq!(find(&after, b"Camera!"), find(&before, b"Camera!"));
        }
    }
}

#[test]
fn the_thumbnail_of_the_source_is_unlinked() {
    for little in [true, false] {
        for place in [Place::Keep, Place::Erase] {
            let mut exif = patched(phone(little), Size::new(8, 8), place);
            let block = Block::parse(&mut exif).unwrap();
            let primary = block.directory(block.first().unwrap()).unwrap();
            assert_eq!(block.u32(primary.next_at()), Ok(0));
        }
    }
}

#[test]
fn keep_no_gps_leaves_no_byte_of_the_place_and_keep_leaves_all() {
    for little in [true, false] {
        let kept = patched(phone(little), Size::new(8, 8), Place::Keep);
        let erased = patched(phone(little), Size::new(8, 8), Place::Erase);
        for secret in [LATITUDE, GPS_DATE, XMP] {
            assert!(find(&kept, secret).is_some());
            assert_eq!(find(&erased, secret), None);
        }
        assert!(value(&kept, tag::GPS_DIRECTORY).is_some());
        assert_eq!(value(&erased, tag::GPS_DIRECTORY), None);
        assert_eq!(value(&erased, tag::XMP), None);
        // What comes before and after the entries taken out is still found.
        assert_eq!(value(&erased, tag::ORIENTATION), Some((SHORT, 1)));
        assert!(value(&erased, tag::EXIF_DIRECTORY).is_some());
    }
}

#[test]
fn a_place_that_only_the_thumbnail_knows_is_erased_too() {
    let mut builder = Builder::new(true);
    builder.directory(&[(tag::ORIENTATION, SHORT, 1, &[1, 0])], 26);
    let gps_at = 26 + 2 + 12 + 4;
    assert_eq!(
        builder.directory(&[(tag::GPS_DIRECTORY, LONG, 1, &u32::to_le_bytes(gps_at))], 0),
        26
    );
    assert_eq!(builder.directory(&[(2, 5, 3, LATITUDE)], 0), gps_at);
    let erased = patched(builder.bytes, Size::new(8, 8), Place::Erase);
    assert_eq!(find(&erased, LATITUDE), None);
}

#[test]
fn directories_that_are_one_and_the_same_are_refused_and_not_followed() {
    // Details = primary; place = primary; thumbnail = primary.
    for (tag, next) in [
        (tag::EXIF_DIRECTORY, 0),
        (tag::GPS_DIRECTORY, 0),
        (tag::ORIENTATION, 8),
    ] {
        let mut builder = Builder::new(true);
        builder.directory(&[(tag, LONG, 1, &[8, 0, 0, 0])], next);
        assert_eq!(
            patch(&mut builder.bytes, enlarged(Size::new(8, 8)), Place::Erase),
            Err(Malformed),
            "{tag:x}"
        );
    }
}

#[test]
fn a_place_whose_values_claim_to_lie_in_the_maker_note_does_not_destroy_it() {
    let exif = phone(true);
    let at = find(&exif, MAKER_NOTE).unwrap() as u32;
    let mut hostile = exif.clone();
    let entry = find(&hostile, &(find(&exif, LATITUDE).unwrap() as u32).to_le_bytes()).unwrap();
    hostile[entry..entry + 4].copy_from_slice(&at.to_le_bytes());
    assert_eq!(
        patch(&mut hostile, enlarged(Size::new(8, 8)), Place::Erase),
        Err(Malformed)
    );
    assert!(find(&hostile, MAKER_NOTE).is_some());
}

#[test]
fn a_block_cut_off_anywhere_is_patched_or_refused() {
    for little in [true, false] {
        let exif = phone(little);
        for length in 0..exif.len() {
            for place in [Place::Keep, Place::Erase] {
                let mut cut = exif[..length].to_vec();
                let _ = patch(&mut cut, enlarged(Size::new(8, 8)), place);
                assert_eq!(cut.len(), length);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..300), little: bool, erase: bool) {
        let header: &[u8] = if little { b"II\x2a\0\x08\0\0\0" } else { b"MM\0\x2a\0\0\0\x08" };
        if bytes.len() > 16 {
            bytes[..8].copy_from_slice(header);
        }
        let _ = patch(&mut bytes, enlarged(Size::new(70_000, 8)), if erase { Place::Erase } else { Place::Keep });
    }

    #[test]
    fn a_damaged_block_never_panics_and_its_maker_note_survives_or_it_is_refused(
        little: bool,
        erase: bool,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut exif = phone(little);
        let note = find(&exif, MAKER_NOTE).unwrap();
        let spared = note..note + MAKER_NOTE.len();
        for (index, byte) in damage {
            let at = index.index(exif.len());
            if !spared.contains(&at) {
                exif[at] = byte;
            }
        }
        let length = exif.len();
        let details = Block::parse(&mut exif).and_then(|block| {
            let primary = block.directory(block.first()?)?;
            let at = block.pointer(&primary, tag::EXIF_DIRECTORY)?.ok_or(Malformed)?;
            let details = block.directory(at)?;
            let entry = block.find(&details, tag::MAKER_NOTE).ok_or(Malformed)?;
            Ok(block.outside_value(entry))
        });
        let outcome = patch(&mut exif, enlarged(Size::new(70_000, 8)), if erase { Place::Erase } else { Place::Keep });
        prop_assert_eq!(exif.len(), length);
        if outcome.is_ok() && details == Ok(Some(spared.clone())) {
            prop_assert_eq!(&exif[spared], MAKER_NOTE);
        }
    }
}
