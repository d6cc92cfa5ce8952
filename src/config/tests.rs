use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;

mod mistakes;
mod shown;
mod telling;

/// A folder that is right, to put one wrong line behind.
const FOLDER: &str = "[[folder]]\nname = \"p\"\ninput = \"/in\"\noutput = \"/out\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/upscaled/c.toml"))
}

fn problems(text: &str) -> Vec<String> {
    parse(text).expect_err(text).problems()
}

fn folder(text: &str) -> Folder {
    parse(&format!("{FOLDER}{text}")).expect(text).folders.remove(0)
}

fn block(name: &str, input: &str, output: &str) -> String {
    format!("[[folder]]\nname = {name:?}\ninput = {input:?}\noutput = {output:?}\n")
}

#[test]
fn the_example_says_what_the_code_does() {
    let example = parse(EXAMPLE).expect("example");
    let expected = Config {
        folders: vec![Folder::new("photos", "/srv/photos/in", "/srv/photos/out")],
        ..Config::default()
    };
    assert_eq!(example, expected);
}

#[test]
fn the_example_holds_every_key_that_the_code_knows() {
    let root: toml::Table = EXAMPLE.parse().expect("example");
    let keys = |value: &toml::Value| {
        value
            .as_table()
            .expect("table")
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let folder = &root["folder"].as_array().expect("folders")[0];
    for (known, mut written) in [
        // [[webhook]] and [plugin] are comments: they have no default.
        (
            file::TOP_KEYS,
            root.keys()
                .cloned()
                .chain(["webhook".to_owned(), "plugin".to_owned()])
                .collect(),
        ),
        (file::RUNTIME_KEYS, keys(&root["runtime"])),
        (file::MEMORY_KEYS, keys(&root["memory"])),
        (news::HOOKS_KEYS, keys(&root["hooks"])),
        (news::METRICS_KEYS, keys(&root["metrics"])),
        (file::FOLDER_KEYS, keys(folder)),
    ] {
        // Writing the default list would ask for warnings about missing providers; see the next test.
        if known == file::RUNTIME_KEYS {
            written.push("providers".to_owned());
        }
        let mut known = known.to_vec();
        known.sort_unstable();
        written.sort_unstable();
        assert_eq!(known, written);
    }
}

#[test]
fn the_providers_line_of_the_example_is_the_default_too() {
    let written = EXAMPLE.replace("# providers = ", "providers = ");
    assert_ne!(written, EXAMPLE);
    let runtime = parse(&written).expect("example").runtime;
    let expected = RuntimeConfig {
        providers_chosen: true,
        ..RuntimeConfig::default()
    };
    assert_eq!(runtime, expected);
}

#[test]
fn the_plug_in_of_the_example_is_read() {
    let uncommented = EXAMPLE
        .lines()
        .skip_while(|line| *line != "# [plugin]")
        .take_while(|line| !line.is_empty())
        .map(|line| line.trim_start_matches("# "))
        .filter(|line| line.starts_with('[') || line.contains(" = "))
        .collect::<Vec<_>>()
        .join("\n");
    let plugin = parse(&uncommented).expect(&uncommented).runtime.choices.plugin;
    let keys: toml::Table = uncommented.parse().expect("a table");
    let mut keys: Vec<&str> = keys["plugin"]
        .as_table()
        .expect("a table")
        .keys()
        .map(String::as_str)
        .collect();
    keys.sort_unstable();
    assert_eq!(keys, ["device", "library", "options", "provider"]);
    assert!(plugin.expect("a plug-in").library.is_absolute());
}

#[test]
fn an_empty_file_is_the_defaults() {
    assert_eq!(parse("").expect("empty"), Config::default());
}

#[test]
fn relative_paths_are_relative_to_the_file_and_not_to_the_working_directory() {
    let text = "state_dir = \"../state\"\n[runtime]\nlibrary = \"lib/libonnxruntime.so\"\n\
                [[folder]]\nname = \"p\"\ninput = \"./in/\"\noutput = \"out\"\nmodel = \"models/my.onnx\"";
    let config = parse(text).expect("config");
    assert_eq!(config.state_dir, Path::new("/etc/state"));
    assert_eq!(
        config.runtime.library,
        Some(PathBuf::from("/etc/upscaled/lib/libonnxruntime.so"))
    );
    let folder = &config.folders[0];
    assert_eq!(
        (folder.input.as_path(), folder.output.as_path()),
        (Path::new("/etc/upscaled/in"), Path::new("/etc/upscaled/out"))
    );
    assert_eq!(folder.recipe.model, "/etc/upscaled/models/my.onnx");
}

#[test]
fn a_models_name_stays_a_name_and_a_bare_onnx_file_is_a_path() {
    assert_eq!(folder("model = \"span-x2\"").recipe.model, "span-x2");
    assert_eq!(
        folder("model = \"my.onnx\"").recipe.model,
        "/etc/upscaled/my.onnx"
    );
}

#[test]
fn every_spelling_of_the_contract_is_read() {
    let read = folder(
        "scale = 1.5\nmax_pixels = \"1.5GP\"\nsettle = \"1h\"\nrescan = \"500ms\"\nquality = 100\npriority = -3\n\
         format = \"tiff\"\ntiling = \"none\"\nmetadata = \"keep-no-gps\"\non_success = \"trash\"\nexclude = [\"*_raw.*\"]",
    );
    assert_eq!(read.recipe.scale, Scale::Times(1.5));
    assert_eq!(read.recipe.max_pixels, 1_500_000_000);
    assert_eq!(read.settle, Some(Duration::from_secs(3600)));
    assert_eq!(read.rescan, Some(Duration::from_millis(500)));
    assert_eq!(read.recipe.metadata, MetadataPolicy::KeepNoGps);
    assert_eq!(
        folder("scale = 2\nmax_pixels = 1000").recipe.scale,
        Scale::Times(2.0)
    );
    let runtime =
        "[runtime]\nproviders = [\"cpu\"]\ndevice_id = [1, 0]\nthreads = 3\n[memory]\ndevice = \"6GiB\"";
    let config = parse(runtime).expect("config");
    assert_eq!(config.runtime.device_ids, [1, 0]);
    assert_eq!(config.runtime.threads, Some(3));
    assert!(config.runtime.providers_chosen);
    assert_eq!(config.memory.device_bytes, Some(6 << 30));
}

#[test]
fn what_a_folder_cannot_do_without_is_asked_for() {
    assert_eq!(
        problems("[[folder]]\nquality = 1"),
        [
            "[[folder]] 1 name: is missing; write a name for logs and --folder, such as \"photos\"",
            "[[folder]] 1 input: is missing; write the folder where pictures are dropped",
            "[[folder]] 1 output: is missing; write the folder where results appear",
        ]
    );
    let name = |name: &str| problems(&block(name, "/a", "/b")).remove(0);
    assert_eq!(
        name(""),
        "[[folder]] 1 name: is empty; write a name such as \"photos\""
    );
    assert_eq!(
        name("a/b"),
        "[[folder]] \"a/b\" name: holds a \"/\" or a control character; leave it out"
    );
    assert_eq!(
        name("-x"),
        "[[folder]] \"-x\" name: begins with \"-\" or begins or ends with a space; leave it out"
    );
    assert!(name(&"x".repeat(65)).ends_with("name: is longer than 64 characters; shorten it"));
}

#[test]
fn all_problems_are_told_at_once_each_on_a_line_that_names_the_file() {
    let error = parse(
        "min_fre = 1\njob_timeout = 1\n[[folder]]\nname = \"a\\nb\"\ninput = \"/a\"\noutput = \"/a\"\n",
    );
    assert_eq!(
        error.expect_err("wrong").to_string(),
        "/etc/upscaled/c.toml: unknown key \"min_fre\" at the top of the file; did you mean \"min_free\"?\n\
         /etc/upscaled/c.toml: job_timeout: must be a time such as \"10s\", \"30min\" or \"2h\", not the number 1; \
         write it in quotes\n\
         /etc/upscaled/c.toml: [[folder]] \"a\\nb\" name: holds a \"/\" or a control character; leave it out"
    );
}

#[test]
fn a_syntax_error_is_told_by_line_and_column() {
    let told = problems("# é\nmin_free = \"1GiB\nx = 1\n").remove(0);
    assert!(told.starts_with("line 2, column "), "{told}");
    assert!(told.ends_with("; correct it"), "{told}");
    let twice = problems("min_free = \"1GiB\"\n  min_free = \"1GiB\"\n").remove(0);
    assert_eq!(twice, "line 2, column 3: duplicate key; correct it");
}

#[test]
fn an_output_inside_its_input_is_refused_and_so_is_the_reverse() {
    assert_eq!(
        problems(&block("p", "/srv/p", "/srv/p/../p/out")),
        [
            "[[folder]] \"p\" output: /srv/p/out lies inside the input /srv/p, so that results would be upscaled again; \
             choose a folder beside it"
        ]
    );
    assert_eq!(
        problems(&block("p", "/srv/p/in", "/srv/p")),
        [
            "[[folder]] \"p\" input: /srv/p/in lies inside the output /srv/p, so that results could be upscaled again; \
             choose a folder beside it"
        ]
    );
    assert_eq!(
        problems(&block("p", "/srv/p", "/srv/p/")),
        ["[[folder]] \"p\" output: is the input folder itself, /srv/p; choose a folder beside it"]
    );
    assert!(parse(&block("p", "/srv/p", "/srv/p-out")).is_ok());
}

#[test]
fn names_outputs_and_the_state_directory_are_kept_apart() {
    let two = block("p", "/a", "/x") + &block("p", "/b", "/y");
    assert_eq!(
        problems(&two),
        ["[[folder]] \"p\" name: another folder has that name; choose another"]
    );
    let shared = block("p", "/a", "/x") + &block("q", "/b", "/x/.");
    assert!(
        parse(&shared).is_ok(),
        "status keeps two folders of one output apart"
    );
    assert_eq!(
        problems(&block("p", "/var", "/x")),
        [
            "state_dir: /var/lib/upscaled lies inside the input of [[folder]] \"p\"; choose a directory outside it"
        ]
    );
}

#[test]
fn a_chain_of_folders_is_allowed_and_a_circle_is_not() {
    let chain = block("a", "/1", "/2") + &block("b", "/2", "/3/x") + &block("c", "/3", "/4");
    assert!(parse(&chain).is_ok());
    assert_eq!(
        problems(&(chain + &block("d", "/4", "/1/sub"))),
        [
            "[[folder]] \"a\" output: results would go round for ever: \"a\" → \"b\" → \"c\" → \"d\" → \"a\"; give one of \
             them an output outside the others' inputs"
        ]
    );
    // What is below a folder that is not recursive is never seen by it.
    let flat = block("a", "/1", "/2") + "recursive = false\n" + &block("b", "/2", "/1/sub");
    assert!(parse(&flat).is_ok());
    let two =
        block("a", "/1", "/2") + &block("b", "/2", "/1") + &block("c", "/3", "/4") + &block("d", "/4", "/3");
    assert_eq!(problems(&two).len(), 2);
}

#[test]
fn a_file_that_cannot_be_read_says_so_and_what_to_do() {
    let directory = tempfile::tempdir().expect("directory");
    let path = directory.path().join("c.toml");
    let told = |path: &Path| Config::load(path).expect_err("wrong").problems().join("|");
    assert_eq!(
        told(&path),
        "there is no such file; `upscaled config init` writes a starter file"
    );
    assert_eq!(
        told(directory.path()),
        "cannot read it: is a directory; name a file in it"
    );
    std::fs::write(&path, b"# caf\xe9\n").expect("written");
    assert_eq!(told(&path), "line 1: is not UTF-8; save the file as UTF-8");
    std::fs::write(&path, vec![b'\n'; 2 << 20]).expect("written");
    assert_eq!(
        told(&path),
        "is larger than 1 MiB, so it is no configuration; name the right file"
    );
}

#[test]
fn a_file_from_an_editor_that_marks_utf8_is_read() {
    assert_eq!(
        parse("\u{feff}min_free = \"2GiB\"\r\n")
            .expect("config")
            .min_free_bytes,
        2 << 30
    );
}
