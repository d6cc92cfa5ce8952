//! Owns where XMP tells what the records of IPTC do, as the Metadata Working Group has it: for formats that have no
//! place for records. Reads hostile records: the first one that is damaged ends them.

use super::text::words;
use crate::codec::xmp::{Form, Property, Wish};

/// Begins every record.
const MARKER: u8 = 0x1c;

/// Record 2 tells of the picture; the others are about letters and packets.
const APPLICATION: u8 = 2;

const DATE: u8 = 55;
const TIME: u8 = 60;

/// Of record 2, what tells of the records, of programs, or of when the picture was digitised, which is EXIF's.
const UNTOLD: [u8; 5] = [0, 62, 63, 65, 70];

/// What each data set is in XMP.
const PROPERTIES: [(u8, Property); 18] = [
    (5, Property::dc("title", Form::Alternatives)),
    (10, Property::photoshop("Urgency", Form::Plain)),
    (15, Property::photoshop("Category", Form::Plain)),
    (20, Property::photoshop("SupplementalCategories", Form::Bag)),
    (25, Property::dc("subject", Form::Bag)),
    (40, Property::photoshop("Instructions", Form::Plain)),
    (DATE, Property::photoshop("DateCreated", Form::Plain)),
    (80, Property::dc("creator", Form::Sequence)),
    (85, Property::photoshop("AuthorsPosition", Form::Plain)),
    (90, Property::photoshop("City", Form::Plain)),
    (95, Property::photoshop("State", Form::Plain)),
    (101, Property::photoshop("Country", Form::Plain)),
    (103, Property::photoshop("TransmissionReference", Form::Plain)),
    (105, Property::photoshop("Headline", Form::Plain)),
    (110, Property::photoshop("Credit", Form::Plain)),
    (115, Property::photoshop("Source", Form::Plain)),
    (116, Property::dc("rights", Form::Alternatives)),
    (120, Property::dc("description", Form::Alternatives)),
];

/// Properties that tell what the records do, each with the number of its data set, and the numbers of those that none
/// tells. Nothing where there are no records.
pub(super) fn properties(records: &[u8]) -> (Vec<(u8, Wish)>, Vec<u8>) {
    let (mut wishes, mut untold): (Vec<(u8, Wish)>, Vec<u8>) = (Vec::new(), Vec::new());
    let time = all(records).find(|(set, _)| *set == TIME).map(|(_, data)| data);
    for (set, data) in all(records) {
        if set == TIME || UNTOLD.contains(&set) {
            continue;
        }
        let words = match set {
            DATE => moment(data, time),
            _ => Some(words(data)),
        };
        let property = PROPERTIES.iter().find(|(number, _)| *number == set);
        match (property, words) {
            (Some((_, property)), Some(words)) => {
                match wishes.iter_mut().find(|(number, _)| *number == set) {
                    Some((_, wish)) => wish.values.push(words),
                    None => wishes.push((
                        set,
                        Wish {
                            property: *property,
                            values: vec![words],
                        },
                    )),
                }
            }
            _ if untold.contains(&set) => {}
            _ => untold.push(set),
        }
    }
    (wishes, untold)
}

/// Data sets of record 2: their numbers and their bytes.
fn all(records: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = records;
    let every = std::iter::from_fn(move || {
        let (&[marker, record, set, high, low], data) = rest.split_first_chunk::<5>()?;
        // A length whose first bit is set is the length of a length, of data larger than any text.
        let length = usize::from(u16::from_be_bytes([high, low]));
        if marker != MARKER || length > 0x7fff {
            return None;
        }
        let (data, behind) = data.split_at_checked(length)?;
        rest = behind;
        Some((record, set, data))
    });
    every.filter_map(|(record, set, data)| (record == APPLICATION).then_some((set, data)))
}

/// `20240506` and `070809+0200` as XMP writes them. What is not known of a date is zeros, and left out.
fn moment(date: &[u8], time: Option<&[u8]>) -> Option<String> {
    let digits = |bytes: &[u8]| {
        let text = std::str::from_utf8(bytes).ok()?;
        text.bytes()
            .all(|byte| byte.is_ascii_digit())
            .then(|| text.to_owned())
    };
    let (year, rest) = date.split_at_checked(4)?;
    let (month, day) = rest.split_at_checked(2)?;
    let [year, month, day] = [digits(year)?, digits(month)?, digits(day)?];
    let time = time.and_then(|time| {
        let (clock, zone) = time.split_at_checked(6)?;
        let clock = digits(clock)?;
        let zone = match zone {
            [sign @ (b'+' | b'-'), offset @ ..] if offset.len() == 4 => {
                let offset = digits(offset)?;
                format!("{}{}:{}", char::from(*sign), &offset[..2], &offset[2..])
            }
            _ => String::new(),
        };
        Some(format!("T{}:{}:{}{zone}", &clock[..2], &clock[2..4], &clock[4..]))
    });
    match (month.as_str(), day.as_str()) {
        _ if day.len() != 2 => None,
        ("00", _) => Some(year),
        (_, "00") => Some(format!("{year}-{month}")),
        _ => Some(format!("{year}-{month}-{day}{}", time.unwrap_or_default())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(set: u8, data: &[u8]) -> Vec<u8> {
        [&[MARKER, 2, set], &(data.len() as u16).to_be_bytes()[..], data].concat()
    }

    #[test]
    fn records_become_properties_and_what_has_no_place_is_numbered() {
        let records = [
            b"\x1c\x01\x5a\0\x03\x1b%G".to_vec(),
            record(0, b"\0\x04"),
            record(25, b"one"),
            record(25, "zwölf".as_bytes()),
            record(80, b"J\xf6rg"),
            record(55, b"20240506"),
            record(60, b"070809+0200"),
            record(150, b"sound"),
            record(150, b"more"),
        ];
        let (wishes, untold) = properties(&records.concat());
        let told: Vec<_> = wishes
            .iter()
            .map(|(set, wish)| (*set, wish.values.join("|")))
            .collect();
        assert_eq!(
            told,
            [
                (25, "one|zwölf".to_owned()),
                (80, "Jörg".to_owned()),
                (55, "2024-05-06T07:08:09+02:00".to_owned()),
            ]
        );
        assert_eq!(untold, [150]);
        for (date, time, wanted) in [
            (&b"20240500"[..], Some(&b"070809"[..]), Some("2024-05")),
            (b"20240000", None, Some("2024")),
            (b"20240506", Some(b"07:08"), Some("2024-05-06")),
            (b"20240506", Some(b"070809"), Some("2024-05-06T07:08:09")),
            (b"6 May", None, None),
            (b"", None, None),
            (b"202405061", None, None),
        ] {
            assert_eq!(moment(date, time).as_deref(), wanted);
        }
    }

    proptest! {
        #[test]
        fn any_records_are_read(
            sets in proptest::collection::vec((any::<u8>(), proptest::collection::vec(any::<u8>(), 0..12)), 0..6),
            junk in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut records: Vec<u8> = sets.iter().flat_map(|(set, data)| record(*set, data)).collect();
            records.extend(junk);
            let _ = properties(&records);
        }
    }
}
