use proptest::prelude::*;

use super::super::{Adapt, OnnxError, adapt, decode, embed, encode, inspect, narrow, note, rounded, widen};
use super::adapt::{byte_network, network};
use super::widen::half_network;
use super::*;

/// Does everything that is done with a file, and says whether it passed for a model.
fn use_it(bytes: &[u8]) -> bool {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    let inspected = inspect(bytes, Some(&directory));
    if let Err(error) = &inspected {
        is_sentence(error);
    }
    for rewritten in [
        embed(bytes, &directory),
        widen(bytes),
        narrow(bytes),
        rounded(bytes),
        adapt(bytes, &Adapt { bgr: false }),
        adapt(bytes, &Adapt { bgr: true }),
        note(bytes, &[("license", "MIT")]),
    ] {
        match rewritten {
            Ok(rewritten) => assert!(decode(&rewritten).is_ok(), "what was written can be read"),
            Err(error) => is_sentence(&error),
        }
    }
    inspected.is_ok()
}

fn is_sentence(error: &OnnxError) {
    let sentence = error.to_string();
    assert!(
        !sentence.chars().any(char::is_control) && sentence.starts_with("it"),
        "{sentence}"
    );
}

/// The small networks that are damaged below.
fn small() -> [Vec<u8>; 4] {
    [
        encode(&nearest()),
        encode(&half_network(true)),
        encode(&byte_network(&[3, 3, -1, -1])),
        encode(&network(DataType::Float, &[1, 3, -1, -1])),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!use_it(&bytes));
    }

    #[test]
    fn random_bytes_behind_a_true_beginning_are_no_model(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(!use_it(&[&[0x08, 8, 0x3a][..], &bytes].concat()));
    }

    #[test]
    fn damage_anywhere_ends_in_a_sentence(
        which in 0..4_usize,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = small()[which].clone();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        use_it(&bytes);
    }

    #[test]
    fn a_network_cut_anywhere_is_refused(which in 0..4_usize, cut in any::<prop::sample::Index>()) {
        let bytes = &small()[which];
        prop_assert!(!use_it(&bytes[..cut.index(bytes.len())]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_built_in_models_cut_anywhere_are_refused(cut in any::<prop::sample::Index>()) {
        for (_, bytes) in built_in() {
            prop_assert!(!use_it(&bytes[..cut.index(bytes.len())]));
        }
    }
}
