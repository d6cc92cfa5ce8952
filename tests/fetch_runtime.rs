//! Protects the script that fetches ONNX Runtime, without a network: its pip is one of ours, its packages are small, and
//! everything else of it is the real script.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sha2::{Digest, Sha256};

/// Set, package and what is in it, as the real table has them.
const PACKAGES: &[(&str, &str, &[&str])] = &[
    (
        "cpu",
        "onnxruntime",
        &["onnxruntime/capi/libonnxruntime.so.1", "onnxruntime/LICENSE"],
    ),
    (
        "cuda",
        "onnxruntime-gpu",
        &[
            "onnxruntime/capi/libonnxruntime.so.1",
            "onnxruntime/capi/libonnxruntime_providers_cuda.so",
            "onnxruntime/LICENSE",
        ],
    ),
    (
        "cuda",
        "nvidia-cudnn",
        &[
            "nvidia/cudnn/lib/libcudnn.so.9",
            "nvidia_cudnn.dist-info/licenses/License.txt",
        ],
    ),
    (
        "tensorrt",
        "tensorrt-cu13-libs",
        &["tensorrt_libs/libnvinfer.so.10", "tensorrt_libs/LICENSE.txt"],
    ),
    (
        "openvino",
        "onnxruntime-ep-openvino",
        &[
            "onnxruntime_ep_openvino/libopenvino.so.1",
            "onnxruntime_ep_openvino/other.py",
            "onnxruntime_ep_openvino/third-party-programs.txt",
        ],
    ),
];

/// The script beside a `runtime/`, with a table and a pip that a test has made.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(bench.path("wheels")).unwrap();
        let mut table = String::new();
        for (set, package, members) in PACKAGES {
            let sum = bench.wheel(package, members, package);
            writeln!(table, "{set} {} {package} 1.0 any {sum} */lib*.so*", machine()).unwrap();
        }
        let script = include_str!("../scripts/fetch-runtime");
        let (head, rest) = script.split_once("<<'PACKAGES'\n").unwrap();
        let (_, tail) = rest.split_once("\nPACKAGES\n").unwrap();
        bench.program(
            "fetch-runtime",
            &format!("{head}<<'PACKAGES'\n{table}PACKAGES\n{tail}"),
        );
        // Any other call of Python is Python's.
        let pip = format!(
            "#!/bin/sh\ncase \"$*\" in\n*' download '*) ;;\n*--version) exit 0 ;;\n*) exec python3 \"$@\" ;;\nesac\n\
             dest=; for word; do [ \"$last\" = --dest ] && dest=$word; last=$word; done\n\
             package=${{last%%==*}}\necho \"$package\" >>{dir}/asked\n\
             cp {dir}/wheels/$package-1.0.whl \"$dest\" || {{ echo 'ERROR: no network'; exit 1; }}\n",
            dir = bench.dir.path().display()
        );
        bench.program("python", &pip);
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn program(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// Makes a package whose files all hold `content`; its sum.
    fn wheel(&self, package: &str, members: &[&str], content: &str) -> String {
        let tree = tempfile::tempdir().unwrap();
        let mut tops = BTreeSet::new();
        for member in members {
            let path = tree.path().join(member);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
            tops.insert(Path::new(member).iter().next().unwrap());
        }
        let wheel = self.path(&format!("wheels/{package}-1.0.whl"));
        let zipped = Command::new("python3")
            .current_dir(tree.path())
            .args(["-m", "zipfile", "-c"])
            .arg(&wheel)
            .args(tops)
            .output()
            .unwrap();
        assert!(zipped.status.success(), "{zipped:?}");
        let mut sum = String::new();
        for byte in Sha256::digest(fs::read(wheel).unwrap()) {
            write!(sum, "{byte:02x}").unwrap();
        }
        sum
    }

    fn run(&self, args: &[&str]) -> Output {
        let _ = fs::remove_file(self.path("asked"));
        Command::new(self.path("fetch-runtime"))
            .args(args)
            .env_remove("ORT_DYLIB_PATH")
            .env("PYTHON", self.path("python"))
            .output()
            .unwrap()
    }

    fn done(&self, args: &[&str]) {
        let run = self.run(args);
        assert!(run.status.success(), "{run:?}");
    }

    /// The one line that a run ends with.
    fn failed(&self, args: &[&str]) -> String {
        let run = self.run(args);
        assert_eq!(run.status.code(), Some(1), "{run:?}");
        let text = String::from_utf8(run.stderr).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter(|line| !line.starts_with("fetching "))
            .collect();
        assert_eq!(lines.len(), 1, "{text}");
        lines[0].to_owned()
    }

    /// The packages that the last run asked pip for.
    fn asked(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// What is in the runtime, but the stamp and ONNX Runtime itself, in order.
    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("runtime")).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                !["STAMP", "LICENSE", "libonnxruntime.so", "libonnxruntime.so.1"].contains(&name.as_str())
            })
            .collect();
        names.sort();
        names
    }

    /// What the runtime's library was made of.
    fn built_from(&self) -> String {
        fs::read_to_string(self.path("runtime/libonnxruntime.so")).unwrap()
    }
}

fn machine() -> String {
    let uname = Command::new("uname").arg("-m").output().unwrap();
    String::from_utf8(uname.stdout).unwrap().trim().to_owned()
}

const CUDA: [&str; 3] = [
    "libcudnn.so.9",
    "libonnxruntime_providers_cuda.so",
    "nvidia-cudnn.License.txt",
];

#[test]
fn each_set_lies_flat_beside_the_library_with_its_licences_and_is_fetched_once() {
    let bench = Bench::new();
    bench.done(&[]);
    assert_eq!(
        (bench.built_from().as_str(), bench.beside()),
        ("onnxruntime", Vec::new())
    );
    bench.done(&["--cuda"]);
    assert_eq!(
        (bench.built_from().as_str(), bench.beside()),
        ("onnxruntime-gpu", CUDA.map(str::to_owned).to_vec())
    );
    assert_eq!(bench.asked(), ["onnxruntime-gpu", "nvidia-cudnn"]);
    bench.done(&["--gpu"]);
    assert!(bench.asked().is_empty());
    // One package more: the others are there.
    bench.done(&["--tensorrt"]);
    assert_eq!(bench.asked(), ["tensorrt-cu13-libs"]);
    bench.done(&["--openvino"]);
    assert_eq!(
        (bench.built_from().as_str(), bench.beside()),
        (
            "onnxruntime",
            vec![
                "libopenvino.so.1".to_owned(),
                "onnxruntime-ep-openvino.third-party-programs.txt".to_owned()
            ]
        )
    );
    let mode = fs::metadata(bench.path("runtime/libopenvino.so.1"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
}

/// `make` asks for a runtime before every build.
#[test]
fn without_an_option_what_is_there_stays_and_is_repaired() {
    let bench = Bench::new();
    bench.done(&["--tensorrt", "--openvino"]);
    let before = bench.beside();
    bench.done(&[]);
    assert!(bench.asked().is_empty());
    fs::remove_file(bench.path("runtime/libcudnn.so.9")).unwrap();
    bench.done(&[]);
    assert_eq!(
        (bench.asked(), bench.beside()),
        (vec!["nvidia-cudnn".to_owned()], before)
    );
    bench.done(&["--cpu"]);
    assert_eq!(
        (bench.built_from().as_str(), bench.beside()),
        ("onnxruntime", Vec::new())
    );
}

#[test]
fn an_interrupted_run_leaves_the_old_set_and_goes_on_where_it_was() {
    let bench = Bench::new();
    bench.done(&[]);
    let wheel = bench.path("wheels/nvidia-cudnn-1.0.whl");
    let content = fs::read(&wheel).unwrap();
    fs::remove_file(&wheel).unwrap();
    let line = bench.failed(&["--cuda"]);
    assert!(
        line.contains("cannot fetch nvidia-cudnn==1.0 (ERROR: no network)") && line.contains("run it again"),
        "{line}"
    );
    assert_eq!(bench.built_from(), "onnxruntime");
    fs::write(&wheel, content).unwrap();
    bench.done(&["--cuda"]);
    assert_eq!(bench.asked(), ["nvidia-cudnn"]);
    assert_eq!(bench.beside(), CUDA);
}

#[test]
fn a_changed_package_is_refused_and_the_old_set_stays() {
    let bench = Bench::new();
    bench.done(&[]);
    bench.wheel(
        "nvidia-cudnn",
        &["nvidia/cudnn/lib/libcudnn.so.9"],
        "somebody else's",
    );
    let line = bench.failed(&["--cuda"]);
    assert!(
        line.contains("nvidia-cudnn-1.0.whl has sha256") && line.contains("nothing was installed"),
        "{line}"
    );
    assert_eq!(
        (bench.built_from().as_str(), bench.beside()),
        ("onnxruntime", vec![".fetch".to_owned()])
    );
    bench.done(&[]);
    assert!(bench.asked().is_empty(), "what was there is still vouched for");
}

#[test]
fn where_nvidias_index_is_out_of_reach_cuda_is_installed_and_the_line_says_what_to_do() {
    let bench = Bench::new();
    fs::remove_file(bench.path("wheels/tensorrt-cu13-libs-1.0.whl")).unwrap();
    let line = bench.failed(&["--tensorrt"]);
    for part in [
        "tensorrt-cu13-libs==1.0",
        "CUDA is in place",
        "copy libnvinfer*.so*",
        "out of providers",
    ] {
        assert!(line.contains(part), "{part} is missing from {line}");
    }
    assert_eq!(bench.beside(), CUDA);
    // As the line says; and it is not ours to take away.
    fs::write(bench.path("runtime/libnvinfer.so.10"), "by hand").unwrap();
    bench.done(&["--tensorrt"]);
    bench.done(&["--cpu"]);
    assert_eq!(bench.beside(), ["libnvinfer.so.10"]);
}

#[test]
fn what_cannot_be_is_said_in_one_line() {
    let bench = Bench::new();
    for (args, part) in [
        (&["--cuda", "--webgpu"][..], "two builds of ONNX Runtime"),
        (&["--webgpu"], "no build of ONNX Runtime for webgpu on"),
        (&["--rocm"], "there is no option --rocm"),
        (&["here", "there"], "takes one directory"),
    ] {
        let line = bench.failed(args);
        assert!(line.contains(part), "{args:?}: {line}");
    }
    let help = bench.run(&["--help"]);
    let help = String::from_utf8(help.stdout).unwrap();
    for option in ["--cpu", "--cuda", "--tensorrt", "--openvino", "--webgpu"] {
        assert!(help.contains(option), "{help}");
    }
}
