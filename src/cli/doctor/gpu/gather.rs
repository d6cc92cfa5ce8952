//! Owns the gathering of facts about graphics cards: of the system's files, the driver and the loader. Never judges them.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Access, CUDA_LIBRARIES, Facts, Node, RuntimeFacts, TENSORRT_LIBRARIES};
use crate::config::Provider;
use crate::inference::{library, preload};
use crate::machine::nvidia;

/// Looks at everything.
pub fn facts(runtime: &Path, device_id: u32) -> Facts {
    let driver = nvidia::survey();
    let loads = |name: &str| preload::load(Path::new(name)).is_ok();
    Facts {
        has_card: has_card(),
        has_module: Path::new("/proc/driver/nvidia/version").exists(),
        has_libcuda: loads("libcuda.so.1"),
        nodes: nodes(),
        render_node: first_of(names("/dev/dri", "renderD"), "/dev/dri/renderD128"),
        has_vulkan: loads("libvulkan.so.1"),
        in_container: in_container(),
        device_id,
        // Half a gigabyte to look through, for nothing where no driver answers.
        runtime: directory(runtime, driver.is_ok()),
        driver,
        fetcher: library::fetcher(),
    }
}

/// Whether the bus has a display or compute device of NVIDIA's.
fn has_card() -> bool {
    let devices = fs::read_dir("/sys/bus/pci/devices")
        .into_iter()
        .flatten()
        .flatten();
    let says = |dir: &Path, file: &str, start: &str| {
        fs::read_to_string(dir.join(file)).is_ok_and(|text| text.starts_with(start))
    };
    devices
        .map(|device| device.path())
        .any(|dir| says(&dir, "vendor", "0x10de") && says(&dir, "class", "0x03"))
}

/// What containers put into their root or environment.
fn in_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|path| Path::new(path).exists())
        || std::env::var_os("container").is_some_and(|kind| !kind.is_empty())
}

/// The files that CUDA opens. Which of the cards' is ours, their numbers do not tell: one that opens will do.
fn nodes() -> Vec<Node> {
    if Path::new("/dev/dxg").exists() {
        return Vec::new();
    }
    let mut cards = names("/dev", "nvidia");
    cards.retain(|path| {
        path["/dev/nvidia".len()..]
            .bytes()
            .all(|byte| byte.is_ascii_digit())
    });
    cards.retain(|path| path != "/dev/nvidia");
    vec![
        node("/dev/nvidiactl"),
        first_of(cards, "/dev/nvidia0"),
        node("/dev/nvidia-uvm"),
    ]
}

/// The paths in a directory whose names begin so, in order.
fn names(dir: &str, start: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.starts_with(start))
        .map(|name| format!("{dir}/{name}"))
        .collect();
    found.sort();
    found
}

/// The first that opens, else the first that is there, else the one that should be.
fn first_of(paths: Vec<String>, usual: &str) -> Node {
    let nodes: Vec<Node> = paths.iter().map(|path| node(path)).collect();
    let open = nodes.iter().find(|node| node.access == Access::Open);
    open.or(nodes.first()).cloned().unwrap_or_else(|| node(usual))
}

/// Opens it for a moment: its mode alone does not tell what the service manager or a container forbids.
fn node(path: &str) -> Node {
    let access = match fs::File::options().read(true).write(true).open(path) {
        Ok(_) => Access::Open,
        Err(error) if error.kind() == ErrorKind::NotFound => Access::Missing,
        Err(error) if error.raw_os_error() == Some(libc::EACCES) => Access::Denied(group_of(path)),
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Access::Forbidden,
        // Busy or broken: the driver's own words are better than ours.
        Err(_) => Access::Open,
    };
    Node {
        path: path.to_owned(),
        access,
    }
}

/// The name of the group that may read and write it.
fn group_of(path: &str) -> Option<String> {
    let metadata = fs::metadata(path)
        .ok()
        .filter(|metadata| metadata.mode() & 0o060 == 0o060)?;
    let groups = fs::read_to_string("/etc/group").ok()?;
    let number = metadata.gid().to_string();
    let line = groups
        .lines()
        .find(|line| line.split(':').nth(2) == Some(&number))?;
    // root's is nobody's to join.
    line.split(':')
        .next()
        .filter(|name| *name != "root")
        .map(str::to_owned)
}

/// What lies beside the library.
fn directory(library: &Path, has_driver: bool) -> RuntimeFacts {
    let dir = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let dir = dir.parent().map(Path::to_owned).unwrap_or_default();
    let packages = packages(&fs::read_to_string(dir.join("STAMP")).unwrap_or_default());
    let providers: Vec<String> = [
        ("cuda", "libonnxruntime_providers_cuda.so"),
        ("tensorrt", "libonnxruntime_providers_tensorrt.so"),
        ("openvino", "libonnxruntime_providers_openvino_plugin.so"),
    ]
    .into_iter()
    .filter(|(_, file)| dir.join(file).is_file())
    .map(|(name, _)| name.to_owned())
    .collect();
    let is_worth_it = has_driver && providers.iter().any(|name| name == "cuda");
    if is_worth_it {
        preload::beside(library, Provider::Tensorrt);
    }
    let needed = CUDA_LIBRARIES
        .iter()
        .chain(&TENSORRT_LIBRARIES)
        .filter(|_| is_worth_it);
    let missing = needed.filter(|name| preload::load(&PathBuf::from(name)).is_err());
    RuntimeFacts {
        missing: missing.map(|name| (*name).to_owned()).collect(),
        packages,
        providers,
    }
}

/// The packages and their versions, of the lines that `fetch-runtime` leaves.
fn packages(stamp: &str) -> Vec<(String, String)> {
    let package = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    stamp.lines().filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetched_directory_tells_what_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("libonnxruntime.so");
        let files = ["libonnxruntime.so", "libonnxruntime_providers_cuda.so"];
        for file in files {
            fs::write(dir.path().join(file), "").unwrap();
        }
        let stamp = "onnxruntime-gpu 1.31.1 x86_64 wheel-sha256 05d5 libonnxruntime.so.1.31.1\n\
                     nvidia-cudnn-cu13 9.20.0.48 x86_64 wheel-sha256 0c45 libcudnn.so.9\n";
        fs::write(dir.path().join("STAMP"), stamp).unwrap();
        let facts = directory(&library, false);
        assert_eq!(facts.providers, ["cuda"]);
        assert_eq!(facts.version("nvidia-cudnn-cu13"), Some("9.20.0.48"));
        assert!(facts.missing.is_empty(), "nobody looked: there is no driver");
    }

    #[test]
    fn device_files_are_opened_and_not_only_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        fs::write(path("nvidia1"), "").unwrap();
        assert_eq!(node(&path("nvidia1")).access, Access::Open);
        assert_eq!(node(&path("nvidia0")).access, Access::Missing);
        let found = first_of(
            names(&dir.path().display().to_string(), "nvidia"),
            &path("nvidia0"),
        );
        assert_eq!(found.path, path("nvidia1"));
    }
}
