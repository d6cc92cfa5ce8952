//! Any packet of XMP for the patcher: what it makes can be signed, divided and joined. The first byte chooses as in
//! `exif`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| upscaled::codec::fuzz::xmp(bytes));
