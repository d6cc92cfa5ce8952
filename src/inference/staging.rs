//! Owns the page-locked buffers through which pixels reach a GPU and results come back: the driver copies from and to
//! them by itself, while the device computes something else. Never runs a session.

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, Session};
use ort::value::{DynTensor, PrimitiveTensorElementType, TensorElementType};

/// The way of a session's only input and output.
pub(super) struct Staging {
    binding: IoBinding,
    allocator: Allocator,
    memory: MemoryInfo<'static>,
    input_name: String,
    output_names: Vec<String>,
    input: Option<Staged>,
}

/// A buffer for inputs of one shape.
struct Staged {
    shape: [usize; 4],
    tensor: DynTensor,
}

impl Staging {
    /// Between this session and the host, in memory of this kind: [`AllocationDevice::CUDA_PINNED`], or in tests the
    /// processor's own. It goes by the number of the card it is for, or, with other versions of ONNX Runtime, by none.
    ///
    /// # Errors
    /// ONNX Runtime's: the session's provider has no such memory.
    pub(super) fn open(
        session: &Session,
        kind: &AllocationDevice<'static>,
        device_id: u32,
    ) -> ort::Result<Self> {
        let number = i32::try_from(device_id).unwrap_or(0);
        Self::open_at(session, kind, number).or_else(|_| Self::open_at(session, kind, 0))
    }

    fn open_at(session: &Session, kind: &AllocationDevice<'static>, number: i32) -> ort::Result<Self> {
        let memory = || MemoryInfo::new(kind.clone(), number, AllocatorType::Device, MemoryType::CPUOutput);
        let names = session.outputs().iter().map(|output| output.name().to_owned());
        let input = session.inputs().first();
        Ok(Self {
            binding: session.create_binding()?,
            allocator: Allocator::new(session, memory()?)?,
            memory: memory()?,
            input_name: input.map(|input| input.name().to_owned()).unwrap_or_default(),
            output_names: names.collect(),
            input: None,
        })
    }

    /// Puts a run's input on its way; what was on its way before is done with.
    ///
    /// # Errors
    /// ONNX Runtime's, mostly for want of memory.
    pub(super) fn send<T>(&mut self, shape: [usize; 4], values: &[T]) -> ort::Result<()>
    where
        T: PrimitiveTensorElementType + Copy + std::fmt::Debug,
    {
        if self.input.as_ref().is_none_or(|staged| staged.shape != shape) {
            // The old ones first: both would be held at once.
            self.input = None;
            self.binding.clear();
            // Outputs are kept from run to run as well, in the shape that they had.
            for name in &self.output_names {
                self.binding.bind_output_to_device(name.as_str(), &self.memory)?;
            }
            let kind: TensorElementType = T::into_tensor_element_type();
            let tensor = DynTensor::new(&self.allocator, kind, shape)?;
            self.input = Some(Staged { shape, tensor });
        }
        if let Some(Staged { tensor, .. }) = &mut self.input {
            let (_, buffer) = tensor.try_extract_tensor_mut::<T>()?;
            buffer.copy_from_slice(values);
            // Copied to the device when it is bound, so each time.
            self.binding.bind_input(self.input_name.as_str(), tensor)?;
        }
        Ok(())
    }

    /// What the session is run with.
    pub(super) fn binding(&self) -> &IoBinding {
        &self.binding
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use ort::session::RunOptions;

    use super::super::card::{Element, Layout};
    use super::super::tensor::{Format, Pictures, Running, Scratch, run};
    use super::super::{Model, Runtime};
    use super::*;
    use crate::size::Size;

    /// There is no GPU here; the way is the same through the processor's own memory.
    #[test]
    fn what_is_staged_comes_out_as_what_is_handed_over() {
        let library = std::env::var_os("ORT_DYLIB_PATH").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("runtime/libonnxruntime.so"),
            PathBuf::from,
        );
        let runtime = Runtime::load(Some(&library)).expect("ONNX Runtime loads (`make runtime` fetches it)");
        let model = Model::built_in("span-x2").unwrap();
        let mut session = Session::builder(&runtime.environment)
            .unwrap()
            .commit_from_memory(&model.onnx)
            .unwrap();
        let mut staging = Staging::open(&session, &AllocationDevice::CPU, 0).unwrap();
        let options = RunOptions::new().unwrap();
        let format = Format {
            layout: Layout::Nchw,
            channels: 3,
            input: Element::Fp32,
            range: [0.0, 1.0],
        };
        // Shapes change and come back; the same shape comes twice with other values.
        for (side, shift) in [(24, 0.0), (24, 0.3), (40, 0.1), (24, 0.2)] {
            let data: Vec<f32> = (0..3 * side * side)
                .map(|at| (at % 17) as f32 / 32.0 + shift)
                .collect();
            let pictures = Pictures {
                data: &data,
                count: 1,
                size: Size::new(side, side),
            };
            let mut results = Vec::new();
            for staged in [true, false] {
                let mut running = Running {
                    session: &mut session,
                    options: &options,
                    staging: staged.then_some(&mut staging),
                };
                let taken = run(
                    &mut running,
                    &format,
                    pictures,
                    &mut Scratch::default(),
                    |result| result.data.to_vec(),
                );
                results.push(taken.unwrap());
            }
            assert_eq!(results[0].len(), data.len() * 4);
            assert_eq!(results[0], results[1], "{side} {shift}");
        }
    }
}
