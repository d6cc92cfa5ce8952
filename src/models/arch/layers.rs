//! Owns the layers that networks have in common, made of the tensors `NAME.weight` and `NAME.bias`. Every tensor is
//! taken once and must have the shape that the layers before it ask for. Never knows a network.

use super::super::error::ImportError;
use super::super::graph::{Conv, Graph, Value};
use super::super::weights::{Tensor, Weights};
use super::{Built, guess};

/// Endings of names that training leaves behind and a graph does not need.
const HARMLESS: [&str; 3] = ["num_batches_tracked", "total_ops", "total_params"];

/// A network in the making: its graph, and the tensors that are still to be used.
pub struct Layers {
    network: &'static str,
    /// The tensors that no layer has taken yet.
    pub weights: Weights,
    /// The graph so far.
    pub graph: Graph,
}

impl Layers {
    /// No layers yet, and the input of so many channels.
    pub fn new(network: &'static str, weights: Weights, channels: usize) -> (Self, Value) {
        let (graph, input) = Graph::new(channels);
        let layers = Self {
            network,
            weights,
            graph,
        };
        (layers, input)
    }

    /// The network's name.
    pub fn network(&self) -> &'static str {
        self.network
    }

    /// A convolution with a square kernel that keeps rows and columns: `outputs` × `inputs` × `kernel` × `kernel`, and a
    /// bias if there is one.
    ///
    /// # Errors
    /// As [`Weights::take_shaped`].
    pub fn conv(
        &mut self,
        x: &Value,
        name: &str,
        [outputs, inputs]: [usize; 2],
        kernel: usize,
    ) -> Result<Value, ImportError> {
        let weight = self.take(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel])?;
        let bias = self.take_optional(&format!("{name}.bias"), &[outputs])?;
        Ok(self.graph.conv(x, weight, bias, Conv::padded(kernel / 2)))
    }

    /// A `PReLU` with a slope for each of so many channels, or one for all.
    ///
    /// # Errors
    /// As [`Weights::take_shaped`].
    pub fn prelu(&mut self, x: &Value, name: &str, channels: usize) -> Result<Value, ImportError> {
        let name = format!("{name}.weight");
        let count = if self.weights.shape(&name) == Some(&[1]) {
            1
        } else {
            channels
        };
        let slopes = self.take(&name, &[count])?;
        Ok(self.graph.prelu(x, slopes))
    }

    /// Takes the tensor of this name and shape.
    ///
    /// # Errors
    /// As [`Weights::take_shaped`].
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Tensor, ImportError> {
        self.weights.take_shaped(self.network, name, shape)
    }

    /// Takes the tensor of this name and shape if there is one of this name.
    ///
    /// # Errors
    /// [`ImportError::Shape`].
    pub fn take_optional(&mut self, name: &str, shape: &[usize]) -> Result<Option<Tensor>, ImportError> {
        self.weights.has(name).then(|| self.take(name, shape)).transpose()
    }

    /// The finished network, if every tensor was used.
    ///
    /// # Errors
    /// [`ImportError::UnknownNetwork`], naming the first tensors that no layer took: a network that has more than this
    /// one computes something else.
    pub fn finish(self, output: &Value, details: String) -> Result<Built, ImportError> {
        let left: Vec<&str> = self
            .weights
            .names()
            .filter(|name| !HARMLESS.iter().any(|end| name.ends_with(end)))
            .collect();
        if !left.is_empty() {
            return Err(ImportError::UnknownNetwork(format!(
                "closest to {}; {} not fit",
                self.network,
                guess::listed(&left)
            )));
        }
        let facts = [("network", self.network), ("details", details.as_str())];
        Ok(Built {
            model: self.graph.finish(output, &facts),
            network: self.network,
            details,
        })
    }
}

/// The lengths of the axes of this tensor, which must have as many, none of them zero.
///
/// # Errors
/// [`ImportError::Missing`] and [`ImportError::Shape`].
pub fn sizes<const AXES: usize>(
    network: &'static str,
    weights: &Weights,
    name: &str,
) -> Result<[usize; AXES], ImportError> {
    let found = weights.shape(name).ok_or_else(|| ImportError::Missing {
        network,
        name: name.to_owned(),
    })?;
    match <[usize; AXES]>::try_from(found) {
        Ok(sizes) if !sizes.contains(&0) => Ok(sizes),
        _ => Err(ImportError::Shape {
            network,
            name: name.to_owned(),
            found: found.to_vec(),
            expected: vec![1; AXES],
        }),
    }
}

/// Greatest factor of a pixel shuffle: no upscaler makes more than 16 out of one.
const FACTOR_MAX: usize = 16;

/// The factor of the pixel shuffle that makes `channels` channels of `outputs`.
pub fn shuffle_factor(outputs: usize, channels: usize) -> Option<usize> {
    (1..=FACTOR_MAX).find(|factor| channels.checked_mul(factor * factor) == Some(outputs))
}
