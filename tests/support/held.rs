//! Counts all that this process has from the allocator, of whatever thread, C libraries included, by standing in the
//! allocator's place: `malloc` and its kin, which the C library of GNU does under other names.

use std::ffi::{c_int, c_void};
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use upscaled::codec::{self, DecodeLimits, ImageHeader};

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

unsafe extern "C" {
    fn __libc_malloc(bytes: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, bytes: usize) -> *mut c_void;
    fn __libc_realloc(place: *mut c_void, bytes: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, bytes: usize) -> *mut c_void;
    fn __libc_free(place: *mut c_void);
}

fn count(bytes: isize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

fn size(place: *mut c_void) -> isize {
    // SAFETY: the place is null or was given by the allocator and not taken back yet.
    unsafe { libc::malloc_usable_size(place) }.cast_signed()
}

fn counted(place: *mut c_void) -> *mut c_void {
    count(size(place));
    place
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    // SAFETY: the caller's promises are passed on, here and below; counting neither allocates nor unwinds.
    counted(unsafe { __libc_malloc(bytes) })
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    // SAFETY: see `malloc`.
    counted(unsafe { __libc_calloc(count, bytes) })
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn realloc(place: *mut c_void, bytes: usize) -> *mut c_void {
    let before = size(place);
    // Old and new at once, as it may have to be.
    count(bytes.cast_signed());
    // SAFETY: see `malloc`.
    let moved = unsafe { __libc_realloc(place, bytes) };
    count(-bytes.cast_signed());
    if !moved.is_null() || bytes == 0 {
        count(size(moved) - before);
    }
    moved
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn free(place: *mut c_void) {
    count(-size(place));
    // SAFETY: see `malloc`.
    unsafe { __libc_free(place) }
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memalign(alignment: usize, bytes: usize) -> *mut c_void {
    // SAFETY: see `malloc`.
    counted(unsafe { __libc_memalign(alignment, bytes) })
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aligned_alloc(alignment: usize, bytes: usize) -> *mut c_void {
    // SAFETY: see `malloc`.
    counted(unsafe { __libc_memalign(alignment, bytes) })
}

/// # Safety
/// As of the C library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, bytes: usize) -> c_int {
    // SAFETY: see `malloc`.
    let given = counted(unsafe { __libc_memalign(alignment, bytes) });
    if given.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller gives a place for it.
    unsafe { *place = given };
    0
}

/// Nothing else is counted while this is held: to be asked for first by every test of a file.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most bytes that `work` holds beyond what was held before.
pub fn peak<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let value = work();
    let peak = PEAK.load(Ordering::Relaxed);
    ((peak - before).unsigned_abs() as u64, value)
}

/// Paths, messages, threads, what a C library makes once and keeps.
pub const SMALL_CHANGE: u64 = 256 << 10;

/// Reads all rows of all pictures; the most that was held, and the header.
#[allow(dead_code, reason = "not every file that counts reads")]
pub fn decoding(path: &Path) -> (u64, ImageHeader) {
    let limits = DecodeLimits::default();
    let header = codec::probe(path, &limits).unwrap();
    let widths = (0..header.sequence.pictures()).map(|index| header.page(index));
    let row_bytes = widths.map(|page| {
        let longest = page.size.width.max(page.size.height);
        page.layout.row_bytes(longest)
    });
    let mut row = vec![0; row_bytes.max().unwrap()];
    let (held, ()) = peak(|| {
        let mut rows = codec::open(path, &header, &limits).unwrap();
        for index in 0..header.sequence.pictures() {
            let page = header.page(index);
            let size = match page.orientation {
                5..=8 => (page.size.height, page.size.width),
                _ => (page.size.width, page.size.height),
            };
            for _ in 0..size.1 {
                rows.read_row(&mut row[..page.layout.row_bytes(size.0)]).unwrap();
            }
        }
    });
    (held, header)
}

/// That decoding a file holds no more than its header promises, and that it promises no more than `most`.
#[allow(dead_code, reason = "not every file that counts reads")]
pub fn assert_decoded(path: &Path, most: u64) {
    let (held, header) = decoding(path);
    let (name, promised) = (path.display(), header.decode_bytes);
    println!("{name}: {held} of {promised} bytes");
    assert!(
        held <= promised + SMALL_CHANGE,
        "{name}: held {held} of {promised}"
    );
    assert!(promised <= most, "{name}: promised {promised}, expected {most}");
}
