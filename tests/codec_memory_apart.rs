//! Protects the promise of `[memory] host` for AVIF, whose decoder works on a thread of its own: so all threads'
//! allocations are counted, and nothing else may run beside this test.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and says what it was doing"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicIsize, Ordering};

use upscaled::codec::{self, DecodeLimits};

static LIVE: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);

struct Counting;

fn count(bytes: isize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call goes to the system's allocator unchanged; counting neither allocates nor unwinds.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Paths, messages, the thread.
const SMALL_CHANGE: u64 = 256 << 10;

#[test]
fn an_avif_is_held_once_and_its_planes_besides() {
    let limits = DecodeLimits::default();
    for (name, most_per_pixel) in [
        ("large.avif", 3 + 14),
        ("large-10.avif", 6 + 28),
        ("grid.avif", 3 + 14),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/photos")
            .join(name);
        let header = codec::probe(&path, &limits).unwrap();
        let mut row = vec![0; header.layout.row_bytes(header.stored.width)];
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let mut rows = codec::open(&path, &header, &limits).unwrap();
        for _ in 0..rows.size().height {
            rows.read_row(&mut row).unwrap();
        }
        let held = (PEAK.load(Ordering::Relaxed) - before).unsigned_abs() as u64;
        println!("{name}: {held} of {} bytes", header.decode_bytes);
        assert!(
            held <= header.decode_bytes + SMALL_CHANGE,
            "{name}: held {held} of {}",
            header.decode_bytes
        );
        let most = header.stored.pixels() * most_per_pixel + (20 << 20);
        assert!(header.decode_bytes <= most, "{name}: promised more than {most}");
    }
}
