//! Owns the fence around image decoders, which may panic on malicious input. Never hides a panic of our own
//! code: only what runs inside [`fenced`] is caught.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    static FENCED: Cell<bool> = const { Cell::new(false) };
}

/// The decoder panicked: the file is damaged in a way that its authors did not foresee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Panicked;

/// Runs a decoder. Its panic becomes an error and leaves nothing on the terminal; the caller names the file,
/// which is all that a person can act upon. What `work` borrows is not to be used after [`Panicked`].
pub(super) fn fenced<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    install_quiet_hook();
    let outer = FENCED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    FENCED.set(outer);
    result.map_err(|_| Panicked)
}

/// Once per process, in front of whatever hook is there; other threads and unfenced code report as before.
fn install_quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if FENCED.get() {
                tracing::debug!(panic = %info, "an image decoder panicked");
            } else {
                previous(info);
            }
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_of_a_decoder_is_an_error_and_the_fence_is_down_afterwards() {
        assert_eq!(fenced(|| -> u8 { panic!("malicious") }), Err(Panicked));
        assert!(!FENCED.get());
        assert_eq!(fenced(|| 1), Ok(1));
    }
}
