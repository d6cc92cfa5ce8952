//! Owns the last steps before the service's first thread: its umask, where its libraries keep what passes, and the
//! sandbox. Never starts anything.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::config::Config;
use crate::fs::set_umask;
use crate::inference::Runtime;
use crate::queue::prepare_state_dir;
use crate::sandbox::{self, State};
use crate::service::prepare_output;

/// Holds this process to what the configuration names. To be called on the way to the service, after whatever must not
/// be held has been started, and before any thread.
pub fn confine(config: &Config, path: &Path) {
    set_umask(config.umask);
    // Made now, since a rule is tied to what is there. What cannot be made is told by the service, which tries again.
    let is_ready = prepare_state_dir(&config.state_dir).is_ok();
    for folder in &config.folders {
        let _ = prepare_output(folder);
    }
    if is_ready {
        keep_passing_files(&config.state_dir);
    }
    let library = Runtime::locate(config.runtime.library.as_deref()).ok();
    match sandbox::enter(config, path, library.as_deref()) {
        State::Unavailable(why) => tracing::warn!("sandbox not in force: {why}"),
        state => tracing::info!("sandbox {state}"),
    }
}

/// SQLite, TensorRT and CUDA write temporary files and a cache into `/tmp` and the home, which are not the service's.
fn keep_passing_files(state_dir: &Path) {
    for (variable, name) in [("TMPDIR", "tmp"), ("CUDA_CACHE_PATH", "cuda")] {
        let dir = state_dir.join(name);
        let is_chosen = variable == "CUDA_CACHE_PATH" && std::env::var_os(variable).is_some();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        if is_chosen || made.is_err() {
            continue;
        }
        // SAFETY: `confine` runs before this process has a second thread that could read the environment.
        unsafe { std::env::set_var(variable, dir) };
    }
}
