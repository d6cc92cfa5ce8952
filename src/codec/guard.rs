//! Owns the fence around image decoders, which may panic on malicious input. Never hides a panic of our own
//! code: only what runs inside [`fenced`] is caught.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;
use std::sync::mpsc::sync_channel;

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

thread_local! {
    /// Who waits for this thread, if it is one that is given up when it panics.
    static GIVEN_UP: RefCell<Option<Box<dyn FnOnce()>>> = const { RefCell::new(None) };
}

/// As [`fenced`], for a decoder whose panic would end the process before it can be caught: its functions pretend to be
/// C, and those are not unwound. It works on a thread of its own. If it panics, the thread says so before the unwinding
/// would begin, and sleeps for ever; what it held is lost with it, which is at most what was promised for the file.
pub(super) fn fenced_apart<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Panicked> {
    install_quiet_hook();
    let (tell, told) = sync_channel(1);
    let started = std::thread::Builder::new()
        .name("decoder".to_owned())
        .spawn(move || {
            let giving_up = tell.clone();
            // Nobody waits any more if this fails, and then nobody needs to know.
            GIVEN_UP.set(Some(Box::new(move || drop(giving_up.send(Err(Panicked))))));
            let value = work();
            GIVEN_UP.set(None);
            drop(tell.send(Ok(value)));
        });
    if started.is_err() {
        return Err(Panicked);
    }
    told.recv().unwrap_or(Err(Panicked))
}

/// Once per process, in front of whatever hook is there; other threads and unfenced code report as before.
fn install_quiet_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let previous = take_hook();
        set_hook(Box::new(move |info| {
            if let Some(give_up) = GIVEN_UP.take() {
                tracing::debug!(panic = %info, "an image decoder panicked and is given up");
                give_up();
                loop {
                    std::thread::park();
                }
            }
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

    /// A panic that reached the end of a C function would end this process, and the test with it. In a process of its
    /// own: the thread that is given up keeps the panic hook for good, which the harness wants back at its end.
    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "the harness of the child cannot end by itself"
    )]
    fn a_panic_below_a_c_function_is_an_error_too() {
        const CHILD: &str = "UPSCALED_TEST_GIVES_UP";
        extern "C" fn pretends_to_be_c() {
            panic!("malicious");
        }
        if std::env::var_os(CHILD).is_some() {
            let is_told = fenced_apart(|| pretends_to_be_c()) == Err(Panicked);
            let goes_on = fenced_apart(|| 1) == Ok(1);
            std::process::exit(i32::from(!(is_told && goes_on)));
        }
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "codec::guard::tests::a_panic_below_a_c_function_is_an_error_too",
            ])
            .env(CHILD, "1")
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}
