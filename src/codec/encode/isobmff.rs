//! Owns the boxes that AVIF and JPEG XL files consist of. Never touches a file.

/// A box. Its content fits 32 bits: what is larger is written by its owner.
pub fn boxed(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + content.len());
    bytes.extend((8 + content.len() as u32).to_be_bytes());
    bytes.extend(name);
    bytes.extend(content);
    bytes
}

/// A box with a version and flags.
pub fn full(name: &[u8; 4], version: u8, flags: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = (u32::from(version) << 24 | flags).to_be_bytes().to_vec();
    bytes.extend(content);
    boxed(name, &bytes)
}
