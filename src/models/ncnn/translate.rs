//! Owns what has been translated so far: the graph, the blobs by their names and shapes, what is left of the weights.
//! Never knows what a layer computes: each kind of layer is in one of the modules beside it.
//!
//! A blob of ncnn has no axis for a batch. An image (channels × rows × columns) becomes tiles × channels × rows × columns;
//! a vector, as global pooling makes, becomes tiles × values × 1 × 1, so that it multiplies channels as ncnn's does.

use std::collections::BTreeMap;

use super::super::error::ImportError;
use super::super::graph::{Graph, Value, int};
use super::super::weights::Tensor;
use super::bin::{Bin, BinError};
use super::param::{Layer, shown};
use super::{conv, elementwise, memory, pooling, resample, shaping};
use crate::inference::onnx::proto::ModelProto;

/// Channels of one blob: far above any upscaler, and far below what overflows.
const CHANNELS_MAX: usize = 1 << 18;

/// Lengths of kernels, strides, borders and the like: the largest images are not longer.
pub(super) const EXTENT_MAX: usize = 1 << 14;

/// Indices that all layers together may need beyond the weights: one layer of an upscaler needs a few hundred.
const INDICES_MAX: usize = 1 << 20;

/// What is known of a blob's axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// One axis: values.
    Vector,
    /// Three axes, of which rows and columns are 1.
    Pixel,
    /// Three axes of any length.
    Image,
    /// So many axes, the same for all tiles: what `MemoryData` holds.
    Constant(usize),
}

/// What a layer made.
#[derive(Debug, Clone)]
pub(super) struct Blob {
    /// Its name in the graph.
    pub value: Value,
    /// Its axes.
    pub layout: Layout,
    /// Channels of an image, values of a vector.
    pub channels: usize,
}

impl Blob {
    /// The same axes with other contents.
    pub fn with(&self, value: Value) -> Self {
        Self { value, ..*self }
    }
}

/// A translation under way.
#[derive(Debug)]
pub(super) struct Translation<'a> {
    /// The graph so far.
    pub graph: Graph,
    /// Whether the weights of a layer have confirmed the number of the input's channels.
    pub settled: bool,
    bin: Bin<'a>,
    blobs: BTreeMap<String, Blob>,
    indices: usize,
}

impl<'a> Translation<'a> {
    /// Nothing but the blob `input`, an image of so many channels.
    pub fn new(input: &str, channels: usize, bin: &'a [u8]) -> Self {
        let (graph, value) = Graph::new(channels);
        let blob = Blob {
            value,
            layout: Layout::Image,
            channels,
        };
        Self {
            graph,
            settled: false,
            bin: Bin::new(bin),
            blobs: BTreeMap::from([(input.to_owned(), blob)]),
            indices: 0,
        }
    }

    /// Translates the next layer of the file.
    pub fn layer(&mut self, layer: &Layer) -> Result<(), ImportError> {
        let made = self.dispatch(layer)?;
        if made.len() != layer.outputs.len() {
            return Err(layer.damaged(format_args!(
                "makes {} blobs where {} make sense",
                layer.outputs.len(),
                made.len()
            )));
        }
        for (name, blob) in layer.outputs.iter().zip(made) {
            if !(1..=CHANNELS_MAX).contains(&blob.channels) {
                return Err(ImportError::TooLarge(format!(
                    "its blob {} has {} channels, 1 to {CHANNELS_MAX} are translated",
                    shown(name),
                    blob.channels
                )));
            }
            if self.blobs.insert(name.clone(), blob).is_some() {
                return Err(layer.damaged(format_args!("makes a blob {} again", shown(name))));
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, layer: &Layer) -> Result<Vec<Blob>, ImportError> {
        let one = match layer.kind.as_str() {
            "Split" | "Noop" => return self.same(layer),
            "Slice" => return shaping::slice(self, layer),
            "Convolution" | "ConvolutionDepthWise" => conv::convolution(self, layer),
            "Deconvolution" | "DeconvolutionDepthWise" => conv::deconvolution(self, layer),
            "InnerProduct" => conv::inner_product(self, layer),
            "MemoryData" => memory::memory_data(self, layer),
            "BatchNorm" => memory::batch_norm(self, layer),
            "Scale" => memory::scale(self, layer),
            "Bias" => memory::bias(self, layer),
            "PReLU" => memory::prelu(self, layer),
            "BinaryOp" => elementwise::binary(self, layer),
            "Eltwise" => elementwise::eltwise(self, layer),
            "UnaryOp" => elementwise::unary(self, layer),
            "Interp" => resample::interp(self, layer),
            "PixelShuffle" => resample::pixel_shuffle(self, layer),
            "Reorg" => resample::reorg(self, layer),
            "Pooling" => pooling::pooling(self, layer),
            "Reduction" => pooling::reduction(self, layer),
            "Concat" => shaping::concat(self, layer),
            "Crop" => shaping::crop(self, layer),
            "Padding" => shaping::padding(self, layer),
            "Reshape" => shaping::reshape(self, layer),
            "Flatten" => shaping::flatten(self, layer),
            _ => elementwise::activation_layer(self, layer),
        };
        Ok(vec![one?])
    }

    /// `Split` gives its one blob several names; `Noop` gives each of its blobs another one.
    fn same(&self, layer: &Layer) -> Result<Vec<Blob>, ImportError> {
        if layer.kind == "Noop" {
            return self
                .inputs(layer)
                .map(|blobs| blobs.into_iter().cloned().collect());
        }
        let blob = self.one(layer)?;
        Ok(vec![blob; layer.outputs.len()])
    }

    /// A blob by its name.
    pub fn blob(&self, layer: &Layer, name: &str) -> Result<&Blob, ImportError> {
        self.blobs.get(name).ok_or_else(|| {
            layer.damaged(format_args!(
                "takes a blob {}, which no layer before it makes",
                shown(name)
            ))
        })
    }

    /// All that a layer takes.
    pub fn inputs(&self, layer: &Layer) -> Result<Vec<&Blob>, ImportError> {
        layer.inputs.iter().map(|name| self.blob(layer, name)).collect()
    }

    /// The one blob that a layer takes.
    pub fn one(&self, layer: &Layer) -> Result<Blob, ImportError> {
        match self.inputs(layer)?.as_slice() {
            [one] => Ok((*one).clone()),
            other => Err(layer.damaged(format_args!("takes {} blobs where 1 makes sense", other.len()))),
        }
    }

    /// The two blobs that a layer takes.
    pub fn two(&self, layer: &Layer) -> Result<[Blob; 2], ImportError> {
        match self.inputs(layer)?.as_slice() {
            [a, b] => Ok([(*a).clone(), (*b).clone()]),
            other => Err(layer.damaged(format_args!("takes {} blobs where 2 make sense", other.len()))),
        }
    }

    /// The one blob that a layer takes, which must differ from tile to tile.
    pub fn one_moving(&self, layer: &Layer) -> Result<Blob, ImportError> {
        let blob = self.one(layer)?;
        moving(layer, &blob)?;
        Ok(blob)
    }

    /// The one blob that a layer takes, which must be an image.
    pub fn one_image(&self, layer: &Layer) -> Result<Blob, ImportError> {
        let blob = self.one(layer)?;
        of_an_image(layer, &blob)?;
        Ok(blob)
    }

    /// The next weights of the file as this layer stores them.
    pub fn tagged(&mut self, layer: &Layer, count: usize) -> Result<Vec<f32>, ImportError> {
        self.bin.tagged(count).map_err(|error| told(layer, error))
    }

    /// The next weights of the file in full precision.
    pub fn plain(&mut self, layer: &Layer, count: usize) -> Result<Vec<f32>, ImportError> {
        self.bin.plain(count).map_err(|error| told(layer, error))
    }

    /// The next weights of the file in full precision, one for each channel.
    pub fn per_channel(&mut self, layer: &Layer, channels: usize) -> Result<Tensor, ImportError> {
        let values = self.plain(layer, channels)?;
        Ok(Tensor::new(vec![channels, 1, 1], values))
    }

    /// `count` indices that the file does not hold, of which there may not be too many.
    pub fn indices(
        &mut self,
        layer: &Layer,
        count: usize,
        index: impl Fn(usize) -> usize,
    ) -> Result<Value, ImportError> {
        self.indices = self.indices.saturating_add(count);
        if self.indices > INDICES_MAX {
            return Err(layer.refused("one of too many that reorder channels"));
        }
        let indices: Vec<i64> = (0..count).map(|at| index(at) as i64).collect();
        Ok(self.graph.ints(&indices))
    }

    /// The lengths of a value's axes from one to before another, as a list that is known when the network runs.
    pub fn lengths(&mut self, of: &Value, axes: std::ops::Range<usize>) -> Value {
        let attributes = vec![int("start", axes.start as i64), int("end", axes.end as i64)];
        self.graph.node("Shape", &[of], attributes)
    }

    /// The finished network, if its one result is an image and no weights are left.
    pub fn finish(self, output: &str, facts: &[(&str, &str)]) -> Result<ModelProto, ImportError> {
        let left = self.bin.left();
        if left > 0 {
            return Err(ImportError::Damaged(format!(
                "its .bin has {left} bytes more than the layers of its .param need"
            )));
        }
        match self.blobs.get(output) {
            Some(blob) if matches!(blob.layout, Layout::Image | Layout::Pixel) => {
                Ok(self.graph.finish(&blob.value, facts))
            }
            _ => Err(ImportError::Format(format!(
                "its result {} is no image",
                shown(output)
            ))),
        }
    }
}

/// Refuses constants where only blobs that differ from tile to tile are translated.
pub(super) fn moving(layer: &Layer, blob: &Blob) -> Result<(), ImportError> {
    match blob.layout {
        Layout::Constant(_) => Err(layer.refused(format!("a {} of constants", layer.kind))),
        _ => Ok(()),
    }
}

/// Refuses what is no image.
pub(super) fn of_an_image(layer: &Layer, blob: &Blob) -> Result<(), ImportError> {
    match blob.layout {
        Layout::Image | Layout::Pixel => Ok(()),
        _ => Err(layer.refused(format!("a {} of something that is no image", layer.kind))),
    }
}

fn told(layer: &Layer, error: BinError) -> ImportError {
    match error {
        BinError::Int8 => layer.refused("stored in eight-bit integers"),
        BinError::TooMany => ImportError::TooLarge("its weights are more than any upscaler has".to_owned()),
        BinError::None => layer.damaged("stores no weights"),
        BinError::Short { wanted, left } => layer.damaged(format_args!(
            "stores {wanted} bytes of weights, and its .bin has {left} left"
        )),
    }
}
