use super::*;
use crate::size::Size;

fn upright() -> Turn {
    Turn::new(1, Size::new(4, 3), Size::new(8, 6))
}

/// What is settled of one kind alone, and what is told of it.
fn settled(notes: Notes, format: ResultFormat, place: Place) -> (Carried, Vec<String>) {
    let mut carried = Carried {
        notes,
        ..Carried::default()
    };
    let mut warnings = Vec::new();
    settle(&mut carried, format, upright(), place, &mut warnings);
    (carried, warnings)
}

#[test]
fn what_is_nothing_stays_nothing() {
    for format in [ResultFormat::Jpeg, ResultFormat::Webp, ResultFormat::Gif] {
        let (carried, warnings) = settled(Notes::default(), format, Place::Erase);
        assert_eq!((carried, warnings), (Carried::default(), Vec::new()));
    }
}

#[test]
fn a_comment_ends_at_a_zero_and_an_empty_one_is_none() {
    assert_eq!(words(b"one\0two").as_deref(), Some("one"));
    assert_eq!(words(b"\0\0"), None);
    assert_eq!(words(b"Gr\xfcn").as_deref(), Some("Grün"));
    let notes = Notes {
        comments: vec![vec![0; 9]],
        ..Notes::default()
    };
    assert_eq!(
        settled(notes.clone(), ResultFormat::Webp, Place::Keep),
        Default::default()
    );
    assert_eq!(
        settled(notes.clone(), ResultFormat::Jpeg, Place::Keep).0.notes,
        notes
    );
}

#[test]
fn only_names_of_coordinates_are_taken_for_a_place() {
    let texts =
        ["GPSLatitude", "my longitude", "gps", "City", "Comment", "egps"].map(|name| Text::new(name, "x"));
    let notes = Notes {
        texts: texts.to_vec(),
        ..Notes::default()
    };
    let (carried, _) = settled(notes.clone(), ResultFormat::Png, Place::Erase);
    assert_eq!(carried.notes.texts, texts[3..]);
    assert_eq!(
        settled(notes.clone(), ResultFormat::Png, Place::Keep).0.notes,
        notes
    );
}

/// Numbers that are too large for JFIF go where there is room.
#[test]
fn a_resolution_without_a_place_goes_into_exif_and_never_over_what_stands_there() {
    let huge = Density::new((70_000, 1), (70_000, 1), super::super::density::Length::Inch);
    let notes = Notes {
        density: huge,
        ..Notes::default()
    };
    for format in [ResultFormat::Jpeg, ResultFormat::Webp, ResultFormat::Jxl] {
        let (carried, warnings) = settled(notes.clone(), format, Place::Keep);
        assert_eq!(carried.notes.density, None);
        assert_eq!(carried.exif.as_deref().and_then(Density::of_exif), huge);
        assert_eq!(warnings, Vec::<String>::new());
    }
    let empty = b"II\x2a\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    let mut carried = Carried {
        exif: Some(empty.clone()),
        notes,
        ..Carried::default()
    };
    let mut warnings = Vec::new();
    settle(
        &mut carried,
        ResultFormat::Avif,
        upright(),
        Place::Keep,
        &mut warnings,
    );
    assert_eq!(carried.exif, Some(empty));
    assert_eq!(
        warnings,
        ["avif: the resolution was not carried: the format has no place for it"]
    );
}

/// A property longer than any that people write would make a packet that JPEG holds in parts only.
#[test]
fn words_that_are_too_long_for_a_property_are_told() {
    let notes = Notes {
        texts: vec![Text::new("Title", &"x".repeat(70_000)), Text::new("Author", "me")],
        ..Notes::default()
    };
    let (carried, warnings) = settled(notes, ResultFormat::Jpeg, Place::Keep);
    assert_eq!(warnings, ["texts of the PNG were not carried: Title"]);
    let xmp = String::from_utf8(carried.xmp.unwrap()).unwrap();
    assert!(xmp.contains("<rdf:li>me</rdf:li>") && !xmp.contains("xxx"));
}
