//! Owns tensors by name, as files of weights hold them. Never knows which network they belong to.

use std::collections::BTreeMap;

use super::error::ImportError;

/// Values of all tensors of one file: 1 GiB in single precision, ten times what the largest upscalers have.
pub const VALUES_MAX: usize = 1 << 28;

/// Tensors of one file.
pub const TENSORS_MAX: usize = 65_536;

/// Axes of one tensor.
pub const AXES_MAX: usize = 8;

/// Values in rows of rows, widened to single precision whatever the file stored.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tensor {
    shape: Vec<usize>,
    values: Vec<f32>,
}

impl Tensor {
    /// Values of this shape, the last axis running fastest.
    ///
    /// # Panics
    /// If there are not as many values as the shape says: whoever reads a file has checked it.
    pub fn new(shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(
            shape.iter().product::<usize>(),
            values.len(),
            "a tensor's shape and values"
        );
        Self { shape, values }
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The values, the last axis running fastest.
    pub fn values(&self) -> &[f32] {
        &self.values
    }

    /// Lets go of the shape.
    pub fn into_values(self) -> Vec<f32> {
        self.values
    }

    /// The same values under another shape.
    ///
    /// # Panics
    /// As [`Tensor::new`].
    #[must_use]
    pub fn reshaped(self, shape: Vec<usize>) -> Self {
        Self::new(shape, self.values)
    }
}

/// The tensors of a file by their names, in the order of the names.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// Adds a tensor; one of that name that was there is replaced.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// The shape of the tensor of that name.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.get(name).map(Tensor::shape)
    }

    /// Whether there is a tensor of that name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Takes the tensor of that name out.
    ///
    /// # Errors
    /// [`ImportError::Missing`], naming `network`.
    pub fn take(&mut self, network: &'static str, name: &str) -> Result<Tensor, ImportError> {
        self.tensors.remove(name).ok_or_else(|| ImportError::Missing {
            network,
            name: name.to_owned(),
        })
    }

    /// Takes the tensor of that name and shape out.
    ///
    /// # Errors
    /// [`ImportError::Missing`] or [`ImportError::Shape`].
    pub fn take_shaped(
        &mut self,
        network: &'static str,
        name: &str,
        shape: &[usize],
    ) -> Result<Tensor, ImportError> {
        let tensor = self.take(network, name)?;
        if tensor.shape() == shape {
            Ok(tensor)
        } else {
            Err(ImportError::Shape {
                network,
                name: name.to_owned(),
                found: tensor.shape,
                expected: shape.to_vec(),
            })
        }
    }

    /// The same tensors under other names; those for which there is none are dropped.
    #[must_use]
    pub fn renamed(self, name: impl Fn(&str) -> Option<String>) -> Self {
        let tensors = self
            .tensors
            .into_iter()
            .filter_map(|(old, tensor)| Some((name(&old)?, tensor)))
            .collect();
        Self { tensors }
    }
}
