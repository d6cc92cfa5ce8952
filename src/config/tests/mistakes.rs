//! One wrong line each, and the exact words for it: the messages are what a person configures by.

use super::{FOLDER, problems};

/// A wrong file and what is said of it.
const OUTSIDE_FOLDERS: &[(&str, &str)] = &[
    (
        "stat_dir = \"/x\"",
        "unknown key \"stat_dir\" at the top of the file; did you mean \"state_dir\"?",
    ),
    (
        "providers = [\"cpu\"]",
        "unknown key \"providers\" at the top of the file; it belongs in [runtime]",
    ),
    (
        "[memory]\nstate_dir = \"/x\"",
        "unknown key \"state_dir\" in [memory]; it belongs at the top of the file",
    ),
    (
        "[runtime]\ndevice = 0",
        "unknown key \"device\" in [runtime]; did you mean \"device_id\", or does it belong in [memory]?",
    ),
    (
        "[memory]\nzebra = 1",
        "unknown key \"zebra\" in [memory]; known are device, host",
    ),
    ("state_dir = \"\"", "state_dir: is empty; write a path"),
    (
        "state_dir = 3",
        "state_dir: must be a path, not the number 3; write it in quotes",
    ),
    (
        "state_dir = \"~/x\"",
        "state_dir: \"~/x\" is not expanded; write the whole path",
    ),
    (
        "state_dir = \"a\\u0000\"",
        "state_dir: holds a zero byte, which no path may; leave it out",
    ),
    (
        "min_free = 5",
        "min_free: must be a size such as \"6GiB\" or \"512MiB\", not the number 5; write it in quotes",
    ),
    (
        "min_free = \"5\"",
        "min_free: must be a size such as \"6GiB\" or \"512MiB\", not \"5\"; write its unit too",
    ),
    (
        "min_free = \"0B\"",
        "min_free: must be a size such as \"6GiB\" or \"512MiB\", not \"0B\"",
    ),
    (
        "job_timeout = \"5s\"",
        "job_timeout: must be from 10s to 168h, not \"5s\"",
    ),
    (
        "job_timeout = \"-5min\"",
        "job_timeout: must be a time such as \"10s\", \"30min\" or \"2h\", not \"-5min\"",
    ),
    (
        "shutdown_grace = \"20\"",
        "shutdown_grace: must be a time such as \"10s\", \"30min\" or \"2h\", not \"20\"; write its unit too",
    ),
    (
        "runtime = 1",
        "runtime: must be a table [runtime], not the number 1",
    ),
    (
        "[runtime]\nproviders = [\"cdua\"]",
        "[runtime] providers: must be \"tensorrt\", \"cuda\", \"migraphx\", \"openvino\", \"webgpu\", \"plugin\" or \"cpu\", \
         not \"cdua\"; did you mean \"cuda\"?",
    ),
    (
        "[runtime]\nproviders = [\"plugin\", \"cpu\"]",
        "[runtime] providers: \"plugin\" has no library; name it as library in [plugin], or leave it out",
    ),
    (
        "[plugin]\ndevice = \"gpu\"",
        "[plugin] library: is missing; write the path of the provider's library",
    ),
    (
        "[plugin]\nlibrary = \"/opt/x.so\"\ndevice = \"gppu\"",
        "[plugin] device: must be \"auto\" or \"cpu\", \"gpu\" or \"npu\", not \"gppu\"; did you mean \"gpu\"?",
    ),
    (
        "[plugin]\nlibrary = \"/opt/x.so\"\noptions = { streams = 2 }",
        "[plugin] options: \"streams\" must be text in quotes, not the number 2",
    ),
    (
        "[plugin]\nlibary = \"/opt/x.so\"\nlibrary = \"/opt/x.so\"",
        "unknown key \"libary\" in [plugin]; did you mean \"library\"?",
    ),
    (
        "schedule = \"at night\"",
        "schedule: names the day \"at\"; known are mon, tue, wed, thu, fri, sat, sun",
    ),
    (
        "schedule = 22",
        "schedule: must be times of day such as \"22:00-07:00\", not the number 22; write it in quotes",
    ),
    (
        "[[folder]]\nname = \"p\"\ninput = \"/in\"\noutput = \"/out\"\nschedule = \"22:00\"",
        "[[folder]] \"p\" schedule: must be \"auto\" or \"always\" or times of day such as \"22:00-07:00\", \"sat-sun\" or \
         \"mon-fri 18:00-08:00\", not \"22:00\"",
    ),
    (
        "history = \"1y\"",
        "history: must be \"forever\" or a number of days such as \"365d\", not \"1y\"",
    ),
    (
        "history = \"0d\"",
        "history: must be \"forever\" or a number of days such as \"365d\", not \"0d\"",
    ),
    (
        "[runtime]\nproviders = []",
        "[runtime] providers: is an empty list; write providers such as [\"cuda\", \"cpu\"]",
    ),
    (
        "[runtime]\nproviders = \"cpu\"",
        "[runtime] providers: must be a list of providers such as [\"cuda\", \"cpu\"], not \"cpu\"",
    ),
    (
        "[runtime]\nproviders = [\"cpu\", \"cpu\"]",
        "[runtime] providers: names the same twice, at place 2; leave one out",
    ),
    (
        "[runtime]\ndevice_id = [0, 0]",
        "[runtime] device_id: names the same twice, at place 2; leave one out",
    ),
    (
        "[runtime]\ndevice_id = -1",
        "[runtime] device_id: must be a whole number from 0 to 1023, not the number -1",
    ),
    (
        "[runtime]\nthreads = 0",
        "[runtime] threads: must be \"auto\" or a whole number from 1 to 1024, not the number 0",
    ),
    (
        "[runtime]\nprecision = \"fp8\"",
        "[runtime] precision: must be \"auto\", \"fp32\" or \"fp16\", not \"fp8\"",
    ),
    (
        "[runtime]\nunload_after = 10",
        "[runtime] unload_after: must be \"never\" or a time such as \"10s\", \"30min\" or \"2h\", not the number 10; \
         write it in quotes",
    ),
    (
        "[memory]\ndevice = \"1MiB\"",
        "[memory] device: must be \"auto\" or at least 16MiB, not \"1MiB\"",
    ),
    (
        "[memory]\nhost = true",
        "[memory] host: must be \"auto\" or a size such as \"6GiB\" or \"512MiB\", not true",
    ),
    (
        "[folder]\nname = \"p\"",
        "[folder]: must be written with two brackets each side: [[folder]]",
    ),
    ("folder = \"in\"", "folder: must be [[folder]] blocks, not \"in\""),
];

#[test]
fn each_mistake_is_told_with_its_key_and_its_remedy() {
    for (line, problem) in OUTSIDE_FOLDERS {
        assert_eq!(problems(line), [*problem], "{line}");
    }
}

/// A wrong line of the folder "p" and what is said of it.
const IN_FOLDER: &[(&str, &str)] = &[
    (
        "modle = \"x\"",
        "unknown key \"modle\" in [[folder]] \"p\"; did you mean \"model\"?",
    ),
    (
        "model = \"\"",
        "model: must be a model's name or the path to an .onnx file, not \"\"",
    ),
    (
        "quality = 0",
        "quality: must be a whole number from 1 to 100, not the number 0",
    ),
    (
        "quality = \"92\"",
        "quality: must be a whole number from 1 to 100, not \"92\"; leave the quotes out",
    ),
    (
        "scale = 0.5",
        "scale: must be \"model\" or a number from 1 to 16, not the number 0.5",
    ),
    (
        "scale = nan",
        "scale: must be \"model\" or a number from 1 to 16, not the number NaN",
    ),
    (
        "scale = \"2\"",
        "scale: must be \"model\" or a number from 1 to 16, not \"2\"; leave the quotes out",
    ),
    (
        "max_pixels = \"0MP\"",
        "max_pixels: must be a number of pixels such as \"400MP\", not \"0MP\"",
    ),
    (
        "max_pixels = -1",
        "max_pixels: must be a number of pixels such as \"400MP\", not \"-1\"",
    ),
    (
        "on_too_big = \"srink\"",
        "on_too_big: must be \"shrink\" or \"refuse\", not \"srink\"; did you mean \"shrink\"?",
    ),
    (
        "tiling = \"feathered\"",
        "tiling: must be \"auto\", \"exact\", \"feather\", \"comfy\" or \"none\", not \"feathered\"; did you mean \
         \"feather\"?",
    ),
    (
        "tile = 63",
        "tile: must be \"auto\" or a whole number from 64 to 65536, not the number 63",
    ),
    (
        "tiling = \"comfy\"\ntile = 256\noverlap = 128",
        "overlap: 128 makes no sense: tiling \"comfy\" needs less than half of the tile (256); take 127 or less",
    ),
    (
        "tiling = \"none\"\ntile = 256",
        "tile: 256 makes no sense: tiling \"none\" makes no tiles; leave it out",
    ),
    (
        "tiling = \"exact\"\noverlap = 16",
        "overlap: 16 makes no sense: exact tiles share what the model needs; leave it out or choose tiling \"feather\"",
    ),
    (
        "format = \"gif\"",
        "format: must be \"same\", \"jpeg\", \"png\", \"webp\", \"tiff\", \"avif\" or \"jxl\", not \"gif\"",
    ),
    (
        "jpeg_chroma = \"420\"",
        "jpeg_chroma: must be \"4:4:4\" or \"4:2:0\", not \"420\"",
    ),
    (
        "png_effort = 9",
        "png_effort: must be \"fast\", \"balanced\" or \"small\", not the number 9",
    ),
    (
        "format = 1",
        "format: must be \"same\", \"jpeg\", \"png\", \"webp\", \"tiff\", \"avif\" or \"jxl\", not the number 1",
    ),
    (
        "recursive = \"yes\"",
        "recursive: must be true or false, not \"yes\"; leave the quotes out",
    ),
    (
        "include = []",
        "include: is an empty list; write patterns such as [\"*.jpg\", \"*.png\"]",
    ),
    (
        "include = [\"[a\"]",
        "include: \"[a\" is no pattern: unclosed character class; missing ']'; correct it",
    ),
    (
        "exclude = [\"raw/*\"]",
        "exclude: \"raw/*\" holds a \"/\", but patterns are for file names alone; leave it out",
    ),
    (
        "settle = \"0s\"",
        "settle: must be \"auto\" or from 10ms to 1h, not \"0s\"",
    ),
    (
        "rescan = 60",
        "rescan: must be \"auto\" or a time such as \"10s\", \"30min\" or \"2h\", not the number 60; write it in quotes",
    ),
    (
        "name_template = \"../{stem}\"",
        "name_template: holds \"..\"; a result always lies below the output folder",
    ),
    (
        "on_success = \"mvoe\"",
        "on_success: must be \"keep\", \"move\", \"trash\" or \"delete\", not \"mvoe\"; did you mean \"move\"?",
    ),
    (
        "priority = 1.5",
        "priority: must be a whole number from -2147483648 to 2147483647, not the number 1.5",
    ),
];

#[test]
fn each_mistake_of_a_folder_is_told_with_the_folders_name() {
    for (line, problem) in IN_FOLDER {
        let expected = match problem.starts_with("unknown") {
            true => (*problem).to_owned(),
            false => format!("[[folder]] \"p\" {problem}"),
        };
        assert_eq!(problems(&format!("{FOLDER}{line}")), [expected], "{line}");
    }
}
