//! Any block of EXIF for the patcher, and what it makes of it for a TIFF. The first byte chooses the orientation, the
//! size of the result and whether the place stays.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upscaled::codec::fuzz::exif(bytes));
