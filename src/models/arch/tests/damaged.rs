//! Protects the builders of UpCunet, waifu2x and the transformers from files that are not whole: whatever is missing,
//! misshapen or too much is refused with a line, and nothing panics.

use std::path::Path;

use super::*;
use crate::models::{pth, safetensors};

/// First parts of the names of tiny networks of tests/fixtures/models.
const NETS: [&str; 8] = [
    "upcunet-", "cunet-", "upconv-", "vgg-", "swinir-", "hat-", "omnisr-", "dat-",
];

/// Tensors without which the network is another one that is whole, too.
const OPTIONAL: [&str; 1] = ["rel_pos_bias.weight"];

fn networks() -> Vec<(String, Weights)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models");
    let mut networks = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.contains(".expected.") || !NETS.iter().any(|net| name.starts_with(net)) {
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        let weights = if name.ends_with(".pth") {
            pth::read(&bytes)
        } else {
            safetensors::read(&bytes)
        };
        networks.push((name, weights.unwrap()));
    }
    assert!(networks.len() >= 18, "tiny networks are missing");
    networks
}

fn names_of(weights: &Weights) -> Vec<String> {
    weights.names().map(str::to_owned).collect()
}

#[test]
fn a_weight_that_is_missing_is_refused() {
    for (file, weights) in networks() {
        for missing in names_of(&weights) {
            let rest = weights.clone();
            let rest = rest.renamed(|name| (name != missing).then(|| name.to_owned()));
            let optional = OPTIONAL.iter().any(|end| missing.ends_with(end));
            let built = build(rest);
            let refused = built.is_err() || optional || !missing.ends_with(".weight");
            assert!(refused, "{file} was built without {missing}");
        }
    }
}

#[test]
fn a_tensor_too_many_is_refused_by_its_name() {
    for (file, mut weights) in networks() {
        weights.insert("zz.unheard_of.weight", filled(&[2, 2]));
        let error = build(weights).expect_err(&file).to_string();
        assert!(error.contains("zz.unheard_of.weight"), "{file}: {error}");
    }
}

#[test]
fn tensors_of_other_shapes_do_not_panic() {
    // One of each kind: it is tens of thousands of networks otherwise.
    let kinds = [
        "upcunet-x3",
        "upcunet-fast",
        "upconv-7-x2",
        "swinir-real",
        "hat-",
        "omnisr-",
        "dat-",
    ];
    let networks = networks().into_iter();
    for (file, weights) in networks.filter(|(file, _)| kinds.iter().any(|kind| file.starts_with(kind))) {
        for name in names_of(&weights) {
            let shape = weights.shape(&name).unwrap().to_vec();
            let mut turned = shape.clone();
            turned.reverse();
            let longer = [shape.as_slice(), &[1]].concat();
            for other in [vec![0], turned, longer] {
                if other == shape {
                    continue;
                }
                let mut damaged = weights.clone();
                damaged.insert(name.clone(), filled(&other));
                // Some differ in what is not read, such as the index of distances.
                if let Err(error) = build(damaged) {
                    let line = error.to_string();
                    assert!(!line.contains('\n'), "{file}, {name}, {other:?}: {line}");
                }
            }
        }
    }
}
