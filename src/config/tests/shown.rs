//! What `config show` writes means what it was made of.

use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::super::*;
use super::{FOLDER, parse};

#[test]
fn json_holds_every_resolved_key_under_its_name_in_the_file() {
    let json = parse(FOLDER).expect("config").to_json();
    let keys = |value: &serde_json::Value| {
        value
            .as_object()
            .expect("object")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    for (known, value) in [
        (file::TOP_KEYS, &json),
        (file::RUNTIME_KEYS, &json["runtime"]),
        (file::MEMORY_KEYS, &json["memory"]),
        (news::HOOKS_KEYS, &json["hooks"]),
        (news::METRICS_KEYS, &json["metrics"]),
        (file::FOLDER_KEYS, &json["folder"][0]),
    ] {
        let mut known = known.to_vec();
        let mut shown = keys(value);
        known.sort_unstable();
        shown.sort_unstable();
        assert_eq!(known, shown);
    }
    assert_eq!(
        json["runtime"]["providers"],
        serde_json::json!(["tensorrt", "cuda", "cpu"])
    );
}

#[test]
fn the_shown_defaults_are_read_back_as_the_defaults() {
    for config in [Config::default(), parse(EXAMPLE).expect("example")] {
        assert_eq!(parse(&config.to_toml()).expect("shown"), config);
    }
}

fn any_word<W: Word + std::fmt::Debug>() -> impl Strategy<Value = W> {
    let values: Vec<W> = W::WORDS.iter().map(|(_, value)| *value).collect();
    prop::sample::select(values)
}

fn any_encoding() -> impl Strategy<Value = EncodeSettings> {
    (any_word(), any::<bool>(), any_word(), any_word(), any_word()).prop_map(
        |(jpeg_chroma, jpeg_progressive, png_effort, webp_mode, tiff_compression)| EncodeSettings {
            jpeg_chroma,
            jpeg_progressive,
            png_effort,
            webp_mode,
            tiff_compression,
        },
    )
}

fn any_recipe() -> impl Strategy<Value = Recipe> {
    let scale = prop_oneof![Just(Scale::Model), (1.0..=16.0).prop_map(Scale::Times)];
    let template = prop::sample::select(vec!["{stem}_{scale}x.{ext}", "{rel}/ü \"{stem}\".{ext}"]);
    let words = (any_word(), any_word(), any_word(), any_word());
    let px = (
        prop::option::of(values::TILE_PX),
        prop::option::of(values::OVERLAP_PX),
        prop::sample::select(vec!["white", "#0a80ff"]),
    );
    (
        prop::sample::select(vec!["span-x2", "/models/\\my \"model\".onnx"]),
        scale,
        1..=i64::MAX as u64,
        words,
        1..=100_u8,
        template,
        px,
        (any_word(), any_encoding()),
    )
        .prop_map(
            |(model, scale, max_pixels, words, quality, template, px, (animation, encoding))| Recipe {
                model: model.to_owned(),
                scale,
                max_pixels,
                on_too_big: words.0,
                tiling: words.1,
                format: words.2,
                metadata: words.3,
                quality,
                animation,
                encoding,
                name_template: NameTemplate::parse(template).expect("template"),
                tile_px: px.0,
                overlap_px: px.1,
                background: Background::parse(px.2).expect("background"),
            },
        )
        .prop_filter("values that can both be meant", |recipe| {
            check_tiling(recipe).is_ok()
        })
}

fn any_folder() -> impl Strategy<Value = Folder> {
    let pattern = prop::sample::select(vec!["*.jpg", "[a-z]?.\"x\"", "'ü'*"]).prop_map(str::to_owned);
    let settle = prop::option::of((10_u64..3_600_000).prop_map(Duration::from_millis));
    let rescan = prop::option::of((100_000_000_u64..86_400_000_000_000).prop_map(Duration::from_nanos));
    let patterns = (
        prop::collection::vec(pattern.clone(), 1..4),
        prop::collection::vec(pattern, 0..3),
    );
    (
        any_recipe(),
        any::<bool>(),
        patterns,
        settle,
        rescan,
        (any_word(), any_word()),
        any::<i32>(),
        prop::option::of(any_schedule()),
    )
        .prop_map(
            |(
                recipe,
                recursive,
                (include, exclude),
                settle,
                rescan,
                (on_success, on_conflict),
                priority,
                schedule,
            )| {
                Folder {
                    recipe,
                    recursive,
                    include,
                    exclude,
                    settle,
                    rescan,
                    on_success,
                    on_conflict,
                    priority,
                    schedule,
                    ..Folder::new("f \"1\"", "/srv/in \\ \"'\u{e9}\n", "/srv/out")
                }
            },
        )
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let texts = vec!["always", "22:00-07:00", "sun-mon 0:05-24:00, sat"];
    prop::sample::select(texts).prop_map(|text| Schedule::parse(text).expect("schedule"))
}

fn any_runtime() -> impl Strategy<Value = RuntimeConfig> {
    let providers = prop::option::of(prop::sample::subsequence(
        vec![Provider::Cpu, Provider::Cuda, Provider::Tensorrt],
        1..=3,
    ));
    let ids = prop::sample::subsequence((0..=1023).collect::<Vec<u32>>(), 1..5);
    let library = prop::option::of(Just(PathBuf::from("/opt/lib x.so")));
    let plugin = (
        prop::option::of(any_word()),
        prop::option::of(Just("Some \"Provider\"".to_owned())),
        prop::sample::subsequence(vec![("a.b", "1"), ("c", "{\"CPU\": {}}")], 0..=2),
    );
    let plugin = plugin.prop_map(|(device, provider, options)| PluginConfig {
        library: PathBuf::from("/opt/plug in.so"),
        device,
        provider,
        options: options
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    });
    let choices = (
        prop::option::of(any_word()),
        prop::option::of(any::<bool>()),
        prop::option::of(plugin),
    );
    let choices = choices.prop_map(|(openvino_device, channels_last, plugin)| ProviderChoices {
        openvino_device,
        channels_last,
        plugin,
    });
    (
        providers,
        ids,
        library,
        prop::option::of(1..=1024_usize),
        any_word(),
        prop::option::of((1..=3600_u64).prop_map(Duration::from_secs)),
        choices,
    )
        .prop_map(
            |(providers, device_ids, library, threads, precision, unload_after, choices)| RuntimeConfig {
                library,
                providers_chosen: providers.is_some(),
                providers: providers.unwrap_or(RuntimeConfig::default().providers),
                device_ids,
                threads,
                precision,
                unload_after,
                choices,
            },
        )
}

proptest! {
    #[test]
    fn whatever_is_shown_is_read_back_as_it_was(
        runtime in any_runtime(), folder in prop::option::of(any_folder()), bytes in 1..u64::MAX - 1,
        memory in prop::option::of(16_u64 << 20..u64::MAX), grace in 0..3_600_000_u64, timeout in 10..604_800_u64,
        schedule in any_schedule(), days in prop::option::of(1..36_500_u64),
    ) {
        let config = Config {
            shutdown_grace: Duration::from_millis(grace),
            job_timeout: Duration::from_secs(timeout),
            min_free_bytes: bytes,
            schedule,
            history: days.map(|days| Duration::from_secs(days * 24 * 3600)),
            runtime,
            memory: MemoryConfig { device_bytes: memory, host_bytes: memory.map(|bytes| bytes / 2 + (8 << 20)) },
            folders: folder.into_iter().collect(),
            ..Config::default()
        };
        let text = config.to_toml();
        prop_assert_eq!(parse(&text).map_err(|error| error.to_string()), Ok(config), "{}", text);
    }

    #[test]
    fn no_text_is_a_panic(text in "(\\PC|\n|[a-z_]{1,12} = [0-9\"\\[\\]a-z]{1,9}\n|\\[\\[folder\\]\\]\n){0,40}") {
        if let Err(error) = parse(&text) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
