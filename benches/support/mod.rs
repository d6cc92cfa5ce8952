//! What the benchmarks share: their arguments, the whole product as a process, a bare session beside it, pictures, and
//! the lines that say whether a figure is what was wanted.
#![allow(dead_code, reason = "each benchmark uses a part of it")]

pub mod bare;
pub mod pictures;
pub mod product;
pub mod shift;
pub mod verdict;
pub mod waits;

#[path = "../../tests/support/mod.rs"]
pub mod common;

/// The models inside the binary.
pub const BUILT_IN: [&str; 2] = ["span-x4", "span-x2"];

/// What was typed after `--`, without the flags that cargo adds.
#[derive(Debug, Default)]
pub struct Words {
    /// Leave out what takes minutes.
    pub is_quick: bool,
    /// Models: names, and paths made absolute, since the product is run from another directory.
    pub models: Vec<String>,
    /// Numbers, in order.
    pub numbers: Vec<usize>,
}

impl Words {
    /// Reads the process's arguments.
    pub fn read() -> Self {
        let mut words = Self::default();
        for word in std::env::args().skip(1).filter(|word| !word.starts_with("--")) {
            if word == "quick" {
                words.is_quick = true;
            } else if let Ok(number) = word.parse() {
                words.numbers.push(number);
            } else if word.contains('/') || word.ends_with(".onnx") {
                let path = std::fs::canonicalize(&word).unwrap_or_else(|error| panic!("{word}: {error}"));
                words.models.push(path.to_string_lossy().into_owned());
            } else {
                words.models.push(word);
            }
        }
        words
    }

    /// The built-in models, and then those that were named.
    pub fn with_built_in(&self) -> Vec<String> {
        let built_in = BUILT_IN.iter().map(ToString::to_string);
        let named = self
            .models
            .iter()
            .filter(|name| !BUILT_IN.contains(&name.as_str()));
        built_in.chain(named.cloned()).collect()
    }
}

/// A model's name as tables show it: of a path, the file's.
pub fn short(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.strip_suffix(".onnx").unwrap_or(name)
}

/// The middle one; of two, the larger.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
