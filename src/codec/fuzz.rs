//! Owns the doors through which `fuzz/` reaches what changes metadata, and what must hold whatever the bytes are. Never
//! used by the product.

use super::exif_patch::{self, Place};
use super::exif_place;
use super::turn::Turn;
use super::xmp::{self, Form, Property, Provenance, Wish};
use crate::size::Size;

/// The first byte chooses what is wanted of the rest.
fn wish(bytes: &[u8]) -> Option<(Turn, Place, &[u8])> {
    let (&choice, rest) = bytes.split_first()?;
    let (orientation, wide) = (choice & 0x0F, choice & 0x20 != 0);
    let result = if wide {
        Size::new(80_000, 60_000)
    } else {
        Size::new(400, 300)
    };
    let place = if choice & 0x10 == 0 {
        Place::Keep
    } else {
        Place::Erase
    };
    Some((Turn::new(orientation, Size::new(100, 75), result), place, rest))
}

/// Patches a block of EXIF, twice, and lays it into a TIFF.
///
/// # Panics
/// When its length changes, when the second time finds more to do than to turn again, or in it.
pub fn exif(bytes: &[u8]) {
    let Some((turn, place, exif)) = wish(bytes) else {
        return;
    };
    let mut patched = exif.to_vec();
    let outcome = exif_patch::patch(&mut patched, turn, place);
    assert_eq!(patched.len(), exif.len(), "in place");
    if outcome.is_err() {
        return;
    }
    let mut again = patched.clone();
    assert_eq!(
        exif_patch::patch(&mut again, turn, place),
        Ok(()),
        "what was patched can be patched"
    );
    let mut forgotten = patched.clone();
    let forgets = exif_place::forget_jpeg(&mut forgotten).is_ok();
    for block in [Some(&patched), forgets.then_some(&forgotten)]
        .into_iter()
        .flatten()
    {
        if let Ok(placed) = exif_place::place(block) {
            assert_eq!(
                placed.bytes.len() + exif_place::HEADER_BYTES,
                patched.len(),
                "nothing moves"
            );
        }
    }
}

/// Patches a packet, adds to it, signs, divides and joins it.
///
/// # Panics
/// When what comes out of one step is none for the next, or in it.
pub fn xmp(bytes: &[u8]) {
    let Some((turn, place, packet)) = wish(bytes) else {
        return;
    };
    let _ = xmp::said(packet);
    let Ok(patched) = xmp::patch(packet, turn, place) else {
        return;
    };
    assert!(xmp::said(&patched).is_ok_and(|said| !said.video && !said.gain_map && !said.listed));
    let words = "<&\"model>".to_owned();
    let wish = Wish {
        property: Property::dc("description", Form::Alternatives),
        values: vec![words.clone()],
    };
    let added = xmp::add(Some(&patched), &[wish]);
    assert!(added.is_ok(), "what was patched can be added to");
    let patched = added.ok().and_then(|(packet, _)| packet).unwrap_or(patched);
    let provenance = Provenance {
        tool: words.clone(),
        model: words.clone(),
        scale: words.clone(),
        tiling: words,
    };
    let signed = xmp::sign(Some(&patched), &provenance);
    assert!(signed.is_ok(), "what was patched can be signed");
    let Ok(signed) = signed else { return };
    assert!(xmp::said(&signed).is_ok());
    if let Some(parts) = xmp::split(&signed, signed.len() / 2) {
        assert_eq!(xmp::extension(&parts.main), Some(parts.guid));
        assert!(
            xmp::join(&parts.main, &parts.rest).is_ok(),
            "what was divided can be joined"
        );
    }
}
