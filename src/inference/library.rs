//! Owns the search for ONNX Runtime's library and its one environment per process. Never installs anything.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

/// Where a package puts the script that fetches the library.
const INSTALLED_FETCHER: &str = "/usr/lib/upscaled/fetch-runtime";

/// The script that fetches the library: the installed one, or that of the sources.
pub fn fetcher() -> String {
    if Path::new(INSTALLED_FETCHER).is_file() {
        format!("sudo {INSTALLED_FETCHER}")
    } else {
        "scripts/fetch-runtime".to_owned()
    }
}

/// The command that installs what is missing.
pub fn remedy() -> String {
    format!(
        "run {}, or point ORT_DYLIB_PATH to a libonnxruntime.so",
        fetcher()
    )
}

/// File name under which the library is looked for.
const LIBRARY_NAME: &str = "libonnxruntime.so";

/// There is no usable ONNX Runtime.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LibraryError {
    /// None of the places holds one.
    #[error("no ONNX Runtime found (looked in {looked_in}); {}", remedy())]
    NotFound {
        /// The places, in order.
        looked_in: String,
    },
    /// A library is there, but cannot be used.
    #[error("cannot use ONNX Runtime {path}: {why}; {}", remedy())]
    Unusable {
        /// The library.
        path: String,
        /// The loader's words.
        why: String,
    },
}

/// The loaded library. One per process: the second request gets the first one's library.
#[derive(Debug, Clone)]
pub struct Runtime {
    pub(super) environment: Environment,
    /// The library's file.
    pub path: PathBuf,
}

/// ONNX Runtime allows one environment and ort one library for the life of a process.
static LOADED: Mutex<Option<Runtime>> = Mutex::new(None);

impl Runtime {
    /// Loads the library: `explicit` if given (`[runtime] library`), else the first place of CONTRACT §5
    /// that has one.
    ///
    /// # Errors
    /// [`LibraryError`].
    pub fn load(explicit: Option<&Path>) -> Result<Self, LibraryError> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = loaded.as_ref() {
            return Ok(runtime.clone());
        }
        let runtime = Self::open(Self::locate(explicit)?)?;
        *loaded = Some(runtime.clone());
        Ok(runtime)
    }

    /// Where [`Runtime::load`] would find the library, without loading it.
    ///
    /// # Errors
    /// [`LibraryError::NotFound`] with the places that were tried; [`LibraryError::Unusable`] for a path that
    /// somebody named and where no file is.
    pub fn locate(explicit: Option<&Path>) -> Result<PathBuf, LibraryError> {
        let path = match explicit {
            Some(path) => path.to_owned(),
            None => Self::find()?,
        };
        // A bare name is for the system's loader to find; a relative path would be taken as relative to the
        // binary.
        if path.components().count() == 1 {
            return Ok(path);
        }
        let path = std::path::absolute(&path).unwrap_or(path);
        if path.is_file() {
            return Ok(path);
        }
        Err(LibraryError::Unusable {
            path: path.display().to_string(),
            why: "the file is missing".to_owned(),
        })
    }

    fn find() -> Result<PathBuf, LibraryError> {
        if let Some(path) = std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
            return Ok(PathBuf::from(path));
        }
        let directories = directories();
        if let Some(path) = directories
            .iter()
            .map(|dir| dir.join(LIBRARY_NAME))
            .find(|path| path.is_file())
        {
            return Ok(path);
        }
        // The system's loader knows places of its own (ldconfig); only loading tells.
        let by_loader = PathBuf::from(LIBRARY_NAME);
        if Self::loadable(&by_loader) {
            return Ok(by_loader);
        }
        let looked_in = directories
            .iter()
            .map(|dir| dir.display().to_string())
            .chain(["the system's library path".to_owned()])
            .collect::<Vec<_>>()
            .join(", ");
        Err(LibraryError::NotFound { looked_in })
    }

    /// The version that the library tells of itself.
    pub fn version(&self) -> String {
        let info = ort::info();
        let name = self.path.canonicalize().unwrap_or_else(|_| self.path.clone());
        let from_name = name
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_prefix("libonnxruntime.so."))
            .map(str::to_owned);
        from_name.unwrap_or_else(|| info.to_owned())
    }

    fn loadable(path: &Path) -> bool {
        // Registers the library with ort if it loads; there is no other way to ask the loader.
        ort::init_from(path).is_ok()
    }

    fn open(path: PathBuf) -> Result<Self, LibraryError> {
        let unusable = |why: String| LibraryError::Unusable {
            path: path.display().to_string(),
            why: super::classify::first_line(&why),
        };
        let environment = ort::init_from(&path)
            .map_err(|error| unusable(error.to_string()))?
            .with_name("upscaled")
            .with_telemetry(false)
            .with_logger(std::sync::Arc::new(log))
            .build()
            .map_err(|error| unusable(error.message().to_owned()))?;
        // Failed allocations are expected on the out-of-memory ladder and come back as errors anyway.
        environment.set_log_level(LogLevel::Warning);
        Ok(Self { environment, path })
    }
}

/// Keeps ONNX Runtime from reporting to its maker. Its Linux builds since 1.30 write a device identifier below
/// `~/.cache` and send events when an environment is created, before [`with_telemetry`] can say no; only this
/// variable prevents both, and only if it is there before the library is loaded.
///
/// [`with_telemetry`]: ort::environment::EnvironmentBuilder::with_telemetry
///
/// # Safety
/// No other thread may be running.
pub unsafe fn forbid_telemetry() {
    // SAFETY: the caller promises that nobody reads the environment at the same time.
    unsafe { std::env::set_var("ORT_DISABLE_TELEMETRY", "1") };
}

/// ONNX Runtime's own log, at a level below ours: what matters comes back as an error and is told there.
fn log(level: LogLevel, category: &str, _id: &str, location: &str, message: &str) {
    match level {
        LogLevel::Warning | LogLevel::Error | LogLevel::Fatal => {
            tracing::debug!(category, location, "onnxruntime: {message}");
        }
        LogLevel::Info | LogLevel::Verbose => tracing::trace!(category, location, "onnxruntime: {message}"),
    }
}

/// The directories of CONTRACT §5, in order.
fn directories() -> Vec<PathBuf> {
    let beside_binary = std::env::current_exe()
        .and_then(|exe| exe.canonicalize())
        .ok()
        .and_then(|exe| exe.parent().map(|dir| dir.join("runtime")));
    let data_home = std::env::var_os("XDG_DATA_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share")));
    beside_binary
        .into_iter()
        .chain(data_home.map(|dir| dir.join("upscaled/runtime")))
        .chain([PathBuf::from("/usr/lib/upscaled/runtime")])
        .collect()
}
