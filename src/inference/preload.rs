//! Owns the loading of CUDA's, cuDNN's and TensorRT's libraries from beside ONNX Runtime's, where `fetch-runtime` puts
//! them. Never loads a provider, and never fails: what is missing, the provider itself complains of.
//!
//! The provider's library names those others by their bare names, and the loader seeks them in the system's places only.
//! A library that is loaded already under such a name is taken without any search, so each is loaded by its path first:
//! no CUDA toolkit, no `LD_LIBRARY_PATH`.

use std::error::Error as _;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::config::Provider;

/// What CUDA's provider needs by its own word, and what cuDNN then asks for, by the beginnings of their names; those that
/// others need first. cuDNN finds its parts by itself; NVRTC does not find its builtins and compiles nothing without.
const CUDA: [&str; 9] = [
    "libcudart.so.",
    "libnvJitLink.so.",
    "libcublasLt.so.",
    "libcublas.so.",
    "libcurand.so.",
    "libcufft.so.",
    "libnvrtc-builtins.so.",
    "libnvrtc.so.",
    "libcudnn.so.",
];

/// The same for TensorRT's, which needs CUDA's as well.
const TENSORRT: [&str; 4] = [
    "libnvinfer_builder_resource_",
    "libnvinfer.so.",
    "libnvinfer_plugin.so.",
    "libnvonnxparser.so.",
];

static CUDA_ONCE: Once = Once::new();
static TENSORRT_ONCE: Once = Once::new();

/// Loads what `provider` needs and the directory of `library` (ONNX Runtime's) has, once in a process: as there is one
/// library in a process, so there is one directory.
pub fn beside(library: &Path, provider: Provider) {
    let all = |names: &[&str]| {
        for path in files(library, names) {
            if let Err(why) = load(&path) {
                tracing::warn!("cannot load {}: {why}", path.display());
            }
        }
    };
    if matches!(provider, Provider::Cuda | Provider::Tensorrt) {
        CUDA_ONCE.call_once(|| all(&CUDA));
    }
    if provider == Provider::Tensorrt {
        TENSORRT_ONCE.call_once(|| all(&TENSORRT));
    }
}

/// Loads a library for good: by its path, or by its bare name from where the loader finds it.
///
/// # Errors
/// The loader's words.
pub fn load(library: &Path) -> Result<(), String> {
    ort::util::preload_dylib(library).map_err(|error| {
        // The error itself only says that it failed.
        let why = error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string);
        super::classify::first_line(&why)
    })
}

/// The directory's libraries whose names begin so, in the order of `names`. Where ONNX Runtime's library is a link, the
/// directory of the link comes first, and then that of the file.
fn files(library: &Path, names: &[&str]) -> Vec<PathBuf> {
    let link = library.parent().map(Path::to_owned);
    let real = library
        .canonicalize()
        .ok()
        .and_then(|real| Some(real.parent()?.to_owned()));
    // A bare name was found by the loader, which then finds the others the same way.
    let dirs = [link, real]
        .into_iter()
        .flatten()
        .filter(|dir| !dir.as_os_str().is_empty());
    let entries = dirs.flat_map(|dir| std::fs::read_dir(dir).into_iter().flatten().flatten());
    let mut found: Vec<(usize, PathBuf)> = Vec::new();
    for path in entries.map(|entry| entry.path()) {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let rank = names.iter().position(|start| name.starts_with(start));
        let is_new = !found
            .iter()
            .any(|(_, other)| other.file_name() == path.file_name());
        if let Some(rank) = rank.filter(|_| is_new) {
            found.push((rank, path));
        }
    }
    found.sort();
    found.into_iter().map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn libraries_come_in_the_order_in_which_they_need_each_other() {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcudnn.so.9",
            "libcudnn_adv.so.9",
            "libnvblas.so.13",
            "libcudart.so.13",
        ] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        std::fs::create_dir(dir.path().join("link")).unwrap();
        let real = dir.path().join("libonnxruntime.so.1");
        std::fs::write(&real, "").unwrap();
        let link = dir.path().join("link/libonnxruntime.so");
        std::os::unix::fs::symlink(&real, &link).unwrap();
        for library in [real, link] {
            let names: Vec<_> = files(&library, &CUDA)
                .iter()
                .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
                .collect();
            assert_eq!(
                names,
                [
                    "libcudart.so.13",
                    "libcublasLt.so.13",
                    "libcublas.so.13",
                    "libcudnn.so.9"
                ]
            );
        }
        assert!(files(Path::new("libonnxruntime.so"), &CUDA).is_empty());
    }

    /// As CUDA's provider does it: the one names the other, and neither says where to look.
    #[test]
    fn a_library_that_was_loaded_by_its_path_is_found_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let cc = |args: &[&str]| {
            let built = Command::new("cc")
                .current_dir(dir.path())
                .args(["-shared", "-fPIC"])
                .args(args)
                .output()
                .unwrap();
            assert!(built.status.success(), "{built:?}");
        };
        std::fs::write(
            dir.path().join("needed.c"),
            "int upscaled_test(void) { return 1; }",
        )
        .unwrap();
        std::fs::write(
            dir.path().join("provider.c"),
            "int upscaled_test(void); int upscaled_test_twice(void) { return 2 * upscaled_test(); }",
        )
        .unwrap();
        let needed = "libnvinfer_plugin.so.99";
        cc(&[&format!("-Wl,-soname,{needed}"), "-o", needed, "needed.c"]);
        cc(&["-o", "provider.so", "provider.c", &format!("./{needed}")]);
        let provider = dir.path().join("provider.so");
        let why = load(&provider).unwrap_err();
        assert!(why.contains(needed), "{why}");
        let library = dir.path().join("libonnxruntime.so");
        for path in files(&library, &TENSORRT) {
            load(&path).unwrap();
        }
        load(&provider).unwrap();
    }
}
