use std::path::PathBuf;

use proptest::prelude::*;

use super::*;
use crate::config::{Recipe, planned_output, with_actual_format};

fn named(template: &str, format: Format, source: &str) -> String {
    let recipe = Recipe {
        name_template: NameTemplate::parse(template).expect(template),
        format,
        ..Recipe::default()
    };
    let path = planned_output(&recipe, Path::new(source), "4").expect(source);
    path.into_os_string().into_string().expect("text")
}

fn default_named(format: Format, source: &str) -> String {
    named("{stem}_{scale}x.{ext}", format, source)
}

fn refused(template: &str) -> String {
    NameTemplate::parse(template).expect_err(template)
}

#[test]
fn the_built_in_template_is_what_its_text_says() {
    let default = NameTemplate::default();
    assert_eq!(NameTemplate::parse(default.as_str()), Ok(default));
}

#[test]
fn results_mirror_the_tree_unless_the_template_places_it() {
    assert_eq!(default_named(Format::Same, "IMG_1.jpg"), "IMG_1_4x.jpg");
    assert_eq!(
        default_named(Format::Same, "2024/trip/IMG_2.png"),
        "2024/trip/IMG_2_4x.png"
    );
    let placed = "big/{rel}/{ext}/{stem}.{ext}";
    assert_eq!(
        named(placed, Format::Same, "2024/trip/a.png"),
        "big/2024/trip/png/a.png"
    );
    assert_eq!(named(placed, Format::Same, "a.png"), "big/png/a.png");
    assert_eq!(
        named("x{scale}/{stem}.{ext}", Format::Same, "2024/a.png"),
        "2024/x4/a.png"
    );
}

#[test]
fn the_source_keeps_its_spelling_where_the_format_stays() {
    for (format, source, result) in [
        (Format::Same, "a.jpeg", "a_4x.jpeg"),
        (Format::Same, "a.TIF", "a_4x.TIF"),
        (Format::Same, "a.jfif", "a_4x.jfif"),
        (Format::Same, "a.AVIF", "a_4x.AVIF"),
        (Format::Same, "a.jxl", "a_4x.jxl"),
        (Format::Jpeg, "a.JPG", "a_4x.JPG"),
        (Format::Jpeg, "a.png", "a_4x.jpg"),
        (Format::Tiff, "a.tiff", "a_4x.tiff"),
        (Format::Tiff, "a.bmp", "a_4x.tif"),
        (Format::Webp, "a.b.jpg", "a.b_4x.webp"),
        (Format::Png, "a", "a_4x.png"),
    ] {
        assert_eq!(default_named(format, source), result);
    }
}

#[test]
fn a_format_that_cannot_be_written_becomes_png_or_jpeg_by_its_kind() {
    for (source, result) in [
        ("a.bmp", "a_4x.png"),
        ("a", "a_4x.png"),
        ("a.xyz", "a_4x.png"),
        ("a.gif", "a_4x.png"),
        ("a.HEIC", "a_4x.jpg"),
    ] {
        assert_eq!(default_named(Format::Same, source), result);
    }
}

#[test]
fn a_name_always_ends_in_the_extension_of_its_format() {
    assert_eq!(named("{stem}.png", Format::Jpeg, "a.bmp"), "a.jpg");
    assert_eq!(named("{stem}.png", Format::Png, "a.bmp"), "a.png");
    assert_eq!(named("{stem}", Format::Png, "a.bmp"), "a.png");
    assert_eq!(named("{stem}_v1.2", Format::Png, "a.bmp"), "a_v1.2.png");
    assert_eq!(named("{stem}_{ext}", Format::Png, "a.bmp"), "a_png.png");
}

#[test]
fn a_template_that_leaves_the_output_folder_or_takes_our_names_is_refused() {
    for (template, why) in [
        ("", "is empty; write for example \"{stem}_{scale}x.{ext}\""),
        (
            "/{stem}.{ext}",
            "starts with \"/\"; a result always lies below the output folder",
        ),
        (
            "../{stem}.{ext}",
            "holds \"..\"; a result always lies below the output folder",
        ),
        (
            "a/../{stem}.{ext}",
            "holds \"..\"; a result always lies below the output folder",
        ),
        ("./{stem}.{ext}", "holds \"./\"; leave it out"),
        ("a//{stem}.{ext}", "holds \"//\"; leave one \"/\" out"),
        ("{stem}/", "ends with \"/\"; the last part is the file's name"),
        (
            ".{stem}.{ext}",
            "makes the hidden name \".{stem}.{ext}\"; leave the leading dot out",
        ),
        (
            "a/.b/{stem}.{ext}",
            "makes the hidden name \".b\"; leave the leading dot out",
        ),
        (
            ".upscaled/{stem}.{ext}",
            "starts with \".upscaled\", which is upscaled's own; choose another name",
        ),
        (
            "Status.JSON/{stem}.{ext}",
            "starts with \"status.json\", which is upscaled's own; choose another name",
        ),
        (
            "status.json",
            "starts with \"status.json\", which is upscaled's own; choose another name",
        ),
        ("{stem}\n.{ext}", "holds a control character; leave it out"),
        (
            "x.{ext}",
            "holds no {stem}, so that all results would have one name; write {stem} in it",
        ),
        (
            "{rel}",
            "ends with {rel}, which is a directory; write \"{rel}/{stem}_{scale}x.{ext}\"",
        ),
        (
            "{rel}/{rel}/{stem}.{ext}",
            "holds {rel} twice; once places the whole tree",
        ),
        (
            "x{rel}/{stem}.{ext}",
            "holds {rel} within \"x{rel}\"; it stands alone between slashes: {rel}/…",
        ),
        (
            "{stem}{size}.{ext}",
            "holds the unknown placeholder {size}; known are {stem}, {scale}, {ext}, {rel}",
        ),
        (
            "{stem}{.{ext}",
            "holds the unknown placeholder {.{ext}; known are {stem}, {scale}, {ext}, {rel}",
        ),
        (
            "{stem",
            "has a brace without its partner in \"{stem\"; known are {stem}, {scale}, {ext}, {rel}",
        ),
        (
            "stem}",
            "has a brace without its partner in \"stem}\"; known are {stem}, {scale}, {ext}, {rel}",
        ),
    ] {
        assert_eq!(refused(template), why, "{template:?}");
    }
    let long = refused(&format!("{{stem}}{}.{{ext}}", "x".repeat(200)));
    assert_eq!(
        long,
        "has more than 128 bytes of fixed text between two slashes; shorten it"
    );
}

#[test]
fn a_source_cannot_lead_its_result_out_of_the_folder_or_into_our_directory() {
    let template = NameTemplate::default();
    let render = |source: &str| template.render(Path::new(source), "4", OsStr::new("jpg"));
    for source in ["", "/", "/etc/a.jpg", "../a.jpg", "a/../../b.jpg", ".."] {
        assert!(
            matches!(render(source), Err(NameError::NotBelow { .. })),
            "{source:?}"
        );
    }
    for source in [".upscaled/jobs/a.jpg", "STATUS.json/a.jpg"] {
        assert!(
            matches!(render(source), Err(NameError::Reserved { .. })),
            "{source:?}"
        );
    }
    assert_eq!(
        render("x/.upscaled/a.jpg"),
        Ok(PathBuf::from("x/.upscaled/a_4x.jpg"))
    );
    assert_eq!(render("./a.jpg"), Ok(PathBuf::from("a_4x.jpg")));
}

#[test]
fn a_name_that_is_not_utf8_keeps_its_bytes() {
    let source = PathBuf::from(OsString::from_vec(b"d\xe9j\xe0/vu\xff.jpg".to_vec()));
    let result = planned_output(&Recipe::default(), &source, "4").expect("named");
    assert_eq!(result.as_os_str().as_bytes(), b"d\xe9j\xe0/vu\xff_4x.jpg");
}

#[test]
fn long_names_are_cut_between_characters_and_stay_apart() {
    let stem = "é".repeat(125);
    let (one, other) = (format!("{stem}1.jpg"), format!("{stem}2.jpg"));
    let (one, other) = (
        default_named(Format::Same, &one),
        default_named(Format::Same, &other),
    );
    assert_ne!(one, other);
    assert!(
        one.len() <= FILE_MAX_BYTES && one.contains("é~") && one.ends_with("_4x.jpg"),
        "{one}"
    );
    let elsewhere = default_named(Format::Same, &format!("d/{stem}1.jpg"));
    assert_ne!(elsewhere.strip_prefix("d/"), Some(one.as_str()));
}

#[test]
fn the_extension_follows_what_was_really_written() {
    let jpeg = ["jpg", "jpeg", "jpe", "jfif"];
    let actual =
        |planned: &str, ext, accepted: &[&str]| with_actual_format(Path::new(planned), ext, accepted);
    assert_eq!(actual("d/a_4x.JPEG", "jpg", &jpeg), Path::new("d/a_4x.JPEG"));
    assert_eq!(actual("d/a_4x.jpg", "png", &["png"]), Path::new("d/a_4x.png"));
    assert_eq!(actual("d/a_1.5x.png", "jpg", &jpeg), Path::new("d/a_1.5x.jpg"));
}

#[test]
fn a_recipe_read_back_from_json_is_checked_again() {
    let bad = serde_json::from_str::<NameTemplate>("\"../{stem}\"");
    assert!(bad.is_err());
    let template = NameTemplate::parse("{rel}/{stem}.{ext}").expect("template");
    let text = serde_json::to_string(&template).expect("json");
    assert_eq!(text, "\"{rel}/{stem}.{ext}\"");
    assert_eq!(
        serde_json::from_str::<NameTemplate>(&text).expect("template"),
        template
    );
}

/// A path of bytes that matter to names: dots, slashes, braces, halves of characters; short, or longer than a
/// file system allows.
fn source_bytes() -> impl Strategy<Value = Vec<u8>> {
    const TELLING: &[u8] = b"../~{\xc3\xa9\xff";
    let byte = any::<u8>().prop_map(|byte| *TELLING.get(usize::from(byte % 16)).unwrap_or(&byte));
    let short = prop::collection::vec(byte, 0..24);
    // A repeated pattern: one strategy for each of 300 bytes takes seconds.
    let long = (short.clone(), 200..300_usize).prop_map(|(mut pattern, length)| {
        pattern.retain(|byte| *byte != b'/');
        pattern.iter().copied().cycle().take(length).collect()
    });
    prop_oneof![short, long]
}

fn template_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("{stem}".to_owned()),
        Just("{scale}".to_owned()),
        Just("{ext}".to_owned()),
        Just("{rel}".to_owned()),
        Just("/".to_owned()),
        Just("..".to_owned()),
        Just(".upscaled".to_owned()),
        "[a-zé{}. ]{0,60}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_result_never_leaves_the_output_folder(
        text in template_text(), source in source_bytes(), scale in "[0-9./]{1,8}", ext in source_bytes(),
    ) {
        let templates = [NameTemplate::parse(&text).unwrap_or_default(), NameTemplate::default()];
        let source = PathBuf::from(OsString::from_vec(source));
        for template in templates {
            let Ok(result) = template.render(&source, &scale, OsStr::from_bytes(&ext)) else { continue };
            prop_assert!(result.components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert!(result.iter().all(|name| name.len() <= NAME_MAX_BYTES));
            prop_assert!(reserved(result.iter().next().unwrap_or_default().as_bytes()).is_none());
        }
    }

    #[test]
    fn two_stems_in_one_directory_never_share_a_result(
        one in source_bytes(), other in source_bytes(), ext in prop::sample::select(vec!["jpg", "PNG", "bmp", "heic"]),
    ) {
        let name = |mut bytes: Vec<u8>| {
            bytes.retain(|byte| *byte != b'/');
            bytes.extend_from_slice(format!(".{ext}").as_bytes());
            PathBuf::from(OsString::from_vec(bytes))
        };
        let (one, other) = (name(one), name(other));
        prop_assume!(one.file_stem() != other.file_stem());
        let recipe = Recipe::default();
        if let (Ok(one), Ok(other)) = (planned_output(&recipe, &one, "4"), planned_output(&recipe, &other, "4")) {
            prop_assert_ne!(one, other);
        }
    }

    #[test]
    fn every_source_that_a_file_system_can_hold_gets_a_name(stem in "[^/\\x00.]{1,63}") {
        let source = PathBuf::from(format!("{stem}.jpg"));
        prop_assert!(planned_output(&Recipe::default(), &source, "4").is_ok());
    }
}
