//! Owns how a tensor lies in its storage: lengths and strides of the axes, which need not be contiguous. Never reads the
//! values, and lets nobody read past the storage.

use super::super::error::ImportError;
use super::super::weights::{AXES_MAX, VALUES_MAX};

/// Where in a storage the values of a tensor are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::models) struct Layout {
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
    count: usize,
}

impl Layout {
    /// Axes of these lengths and strides from `offset` on, all counted in values.
    pub fn new(offset: usize, shape: Vec<usize>, strides: Vec<usize>) -> Result<Self, ImportError> {
        if shape.len() != strides.len() {
            return Err(ImportError::Damaged(
                "a tensor has more axes than strides".to_owned(),
            ));
        }
        let count = count(&shape)?;
        Ok(Self {
            offset,
            shape,
            strides,
            count,
        })
    }

    /// Number of values, at most [`VALUES_MAX`].
    pub fn count(&self) -> usize {
        self.count
    }

    /// Lengths of the axes.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Values that a storage must have to hold the last one; none if it would be more than can be counted.
    pub fn end(&self) -> Option<usize> {
        if self.count == 0 {
            return Some(0);
        }
        let mut axes = self.shape.iter().zip(&self.strides);
        let last = axes.try_fold(self.offset, |last, (len, stride)| {
            last.checked_add((len - 1).checked_mul(*stride)?)
        })?;
        last.checked_add(1)
    }

    /// The places of the values in the storage, in the tensor's order. Only after [`Layout::end`] was found good.
    pub fn places(&self) -> Places<'_> {
        Places {
            layout: self,
            position: vec![0; self.shape.len()],
            place: self.offset,
            left: self.count,
        }
    }

    /// The first place, if the others follow it one by one.
    pub fn contiguous_from(&self) -> Option<usize> {
        let mut expected = 1;
        for (len, stride) in self.shape.iter().zip(&self.strides).rev() {
            // Strides of axes of length one mean nothing.
            if *len > 1 && *stride != expected {
                return None;
            }
            expected *= len;
        }
        Some(self.offset)
    }
}

/// Number of values of a tensor of this shape.
///
/// # Errors
/// [`ImportError::TooLarge`] where it has more axes or values than any upscaler's.
pub(in crate::models) fn count(shape: &[usize]) -> Result<usize, ImportError> {
    let too_large = || ImportError::TooLarge("a tensor has more values than any upscaler".to_owned());
    if shape.len() > AXES_MAX {
        return Err(ImportError::TooLarge(format!(
            "a tensor has {} axes",
            shape.len()
        )));
    }
    // Lengths beside a zero are bounded too: others multiply them.
    let product = shape
        .iter()
        .try_fold(1_usize, |count, len| count.checked_mul(*len));
    match product {
        Some(count) if count <= VALUES_MAX && shape.iter().all(|len| *len <= VALUES_MAX) => Ok(count),
        _ => Err(too_large()),
    }
}

/// See [`Layout::places`].
#[derive(Debug)]
pub(in crate::models) struct Places<'a> {
    layout: &'a Layout,
    position: Vec<usize>,
    place: usize,
    left: usize,
}

impl Iterator for Places<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place;
        let axes = self.layout.shape.iter().zip(&self.layout.strides);
        for (position, (len, stride)) in self.position.iter_mut().zip(axes).rev() {
            *position += 1;
            if *position < *len {
                self.place += stride;
                break;
            }
            self.place -= stride * (*len - 1);
            *position = 0;
        }
        Some(place)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transposed_tensor_is_walked_in_its_own_order() {
        let layout = Layout::new(1, vec![2, 3], vec![1, 2]).unwrap();
        assert_eq!(layout.contiguous_from(), None);
        assert_eq!(layout.end(), Some(7));
        assert_eq!(layout.places().collect::<Vec<_>>(), [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn strides_of_axes_of_length_one_do_not_matter() {
        let layout = Layout::new(5, vec![1, 4, 1], vec![99, 1, 7]).unwrap();
        assert_eq!(layout.contiguous_from(), Some(5));
        assert_eq!(layout.places().collect::<Vec<_>>(), [5, 6, 7, 8]);
    }

    #[test]
    fn nothing_that_overflows_is_walked() {
        let huge = Layout::new(usize::MAX, vec![2], vec![1]).unwrap();
        assert_eq!(huge.end(), None);
        let wide = Layout::new(0, vec![3], vec![usize::MAX / 2 + 1]).unwrap();
        assert_eq!(wide.end(), None);
        assert!(Layout::new(0, vec![usize::MAX, usize::MAX], vec![0, 0]).is_err());
        assert!(Layout::new(0, vec![0, usize::MAX], vec![1, 1]).is_err());
        assert!(Layout::new(0, vec![1; 9], vec![1; 9]).is_err());
        assert_eq!(
            Layout::new(7, vec![0, 3], vec![3, 1]).unwrap().places().count(),
            0
        );
        assert_eq!(
            Layout::new(7, vec![], vec![])
                .unwrap()
                .places()
                .collect::<Vec<_>>(),
            [7]
        );
    }
}
