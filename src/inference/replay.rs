//! Owns runs that a card repeats by itself: CUDA records the kernels of one run (a CUDA graph) and repeats them at a word,
//! where they are otherwise launched one by one. The recorded kernels read and write the same places for ever, so pixels
//! are copied there and back around them. Never decides whether that is wanted, and never trusts a recording that it has
//! not seen repeat itself rightly.
//!
//! <https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#using-cuda-graphs-preview>: all nodes on
//! the card; inputs and outputs bound to it, at addresses that stay; one shape for each recording, which the run option
//! `gpu_graph_id` names, -1 for runs that are none.

use std::ffi::{c_int, c_void};

use half::f16;
use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, TensorElementType};

/// A number that a model takes.
pub(super) trait Sample: PrimitiveTensorElementType + Copy + std::fmt::Debug + 'static {
    /// The nearest to this value.
    fn of(value: f32) -> Self;
}

impl Sample for f32 {
    fn of(value: f32) -> Self {
        value
    }
}

impl Sample for f16 {
    fn of(value: f32) -> Self {
        Self::from_f32(value)
    }
}

/// What a run gave that was done anew.
pub(super) struct Done {
    values: Vec<f32>,
    kind: TensorElementType,
    shape: Vec<i64>,
}

impl Done {
    /// The result of a session, on the host.
    ///
    /// # Errors
    /// ONNX Runtime's: it is no tensor of numbers that are understood.
    pub(super) fn of(result: &DynValue) -> ort::Result<Self> {
        Ok(Self {
            values: floats(result)?,
            kind: result.dtype().tensor_type().unwrap_or(TensorElementType::Float32),
            shape: result
                .dtype()
                .tensor_shape()
                .map(|shape| shape.to_vec())
                .unwrap_or_default(),
        })
    }
}

/// Key of the run option that says which recording a run is.
pub(super) const GRAPH_KEY: &str = "gpu_graph_id";

/// Its value for runs that are recorded nowhere.
pub(super) const NO_GRAPH: &str = "-1";

/// Its value for the one recording of a session.
pub(super) const GRAPH: &str = "1";

/// How far a repeated run may be from the same run done anew, of the range of its values: kernels are the same, but half
/// precision may be summed in another order.
const DIFFERENCE_MAX: f32 = 1e-3;

/// The recording of a session, or the place for it.
pub(super) struct Replay {
    copies: Copies,
    card: Allocator,
    host: Allocator,
    input_name: String,
    output_name: String,
    state: State,
}

enum State {
    /// The first run will be recorded.
    Waiting,
    /// Runs of one shape are repeated.
    Recorded(Box<Recording>),
    /// It did not repeat itself: every run is done anew.
    Refused,
}

struct Recording {
    shape: [usize; 4],
    binding: IoBinding,
    /// On the card. They stay as long as the recording, which knows their addresses.
    input: DynTensor,
    output: DynTensor,
    /// On the host.
    result: DynTensor,
}

impl Replay {
    /// For a session on a card with this number.
    ///
    /// # Errors
    /// ONNX Runtime's, and that CUDA's library has no copies.
    pub(super) fn open(session: &Session, device_id: u32) -> ort::Result<Self> {
        let card = (AllocationDevice::CUDA, i32::try_from(device_id).unwrap_or(0));
        Self::open_between(session, card, AllocationDevice::CUDA_PINNED, Copies::of_cuda()?)
    }

    fn open_between(
        session: &Session,
        (card, device_id): (AllocationDevice<'static>, i32),
        host: AllocationDevice<'static>,
        copies: Copies,
    ) -> ort::Result<Self> {
        let name = |name: Option<&str>| name.unwrap_or_default().to_owned();
        Ok(Self {
            copies,
            card: Allocator::new(
                session,
                MemoryInfo::new(card, device_id, AllocatorType::Device, MemoryType::Default)?,
            )?,
            host: Allocator::new(
                session,
                MemoryInfo::new(host, 0, AllocatorType::Device, MemoryType::CPUOutput)?,
            )?,
            input_name: name(session.inputs().first().map(|input| input.name())),
            output_name: name(session.outputs().first().map(|output| output.name())),
            state: State::Waiting,
        })
    }

    /// Whether the next run has to be recorded.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting)
    }

    /// Whether runs of some shape are repeated.
    pub(super) fn is_recorded(&self) -> bool {
        matches!(self.state, State::Recorded(_))
    }

    /// Whether runs of this shape are repeated.
    pub(super) fn has(&self, shape: [usize; 4]) -> bool {
        matches!(&self.state, State::Recorded(recording) if recording.shape == shape)
    }

    /// Repeats the recorded run with these values of its shape, and gives the result, on the host.
    ///
    /// # Errors
    /// ONNX Runtime's, and that there is no recording.
    pub(super) fn run<T>(
        &mut self,
        session: &mut Session,
        options: &RunOptions,
        values: &[T],
    ) -> ort::Result<&DynTensor> {
        let State::Recorded(recording) = &mut self.state else {
            return Err(ort::Error::new("no run was recorded"));
        };
        recording.run(session, options, self.copies, values)?;
        Ok(&recording.result)
    }

    /// Records a run of this shape, and lets it show that it repeats itself: with these values and with others, beside what
    /// `anew` makes of them without a recording.
    ///
    /// # Errors
    /// Those of a run that is done anew. A recording that fails is refused and no error.
    pub(super) fn record<T: Sample>(
        &mut self,
        session: &mut Session,
        options: &RunOptions,
        shape: [usize; 4],
        values: &[T],
        anew: &mut dyn FnMut(&mut Session, &[T]) -> ort::Result<Done>,
    ) -> ort::Result<()> {
        // As unlike a picture as can be, which may be all of one colour.
        let others: Vec<T> = (0..values.len())
            .map(|at| T::of((at * 37 % 251) as f32 / 251.0))
            .collect();
        let wanted = [anew(session, values)?, anew(session, &others)?];
        let recorded = self.try_to_record(session, options, shape, [values, &others], &wanted);
        self.state = match recorded {
            Ok(Some(recording)) => State::Recorded(Box::new(recording)),
            Ok(None) => refused("a recorded run did not give what the same run gives anew"),
            Err(error) => refused(error.message()),
        };
        Ok(())
    }

    fn try_to_record<T: Sample>(
        &self,
        session: &mut Session,
        options: &RunOptions,
        shape: [usize; 4],
        values: [&[T]; 2],
        wanted: &[Done; 2],
    ) -> ort::Result<Option<Recording>> {
        let mut recording = self.place::<T>(session, shape, &wanted[0])?;
        for (values, wanted) in values.into_iter().zip(wanted) {
            recording.run(session, options, self.copies, values)?;
            let found = floats(&recording.result.view().into_dyn())?;
            if !is_same(&wanted.values, &found) {
                return Ok(None);
            }
        }
        Ok(Some(recording))
    }

    /// Places for a run's input and for a result like this one.
    fn place<T: Sample>(&self, session: &Session, shape: [usize; 4], like: &Done) -> ort::Result<Recording> {
        let input = DynTensor::new(&self.card, T::into_tensor_element_type(), shape)?;
        let mut output = DynTensor::new(&self.card, like.kind, like.shape.clone())?;
        let mut binding = session.create_binding()?;
        binding.bind_input(self.input_name.as_str(), &input)?;
        binding.bind_output(self.output_name.as_str(), output.view_mut())?;
        Ok(Recording {
            shape,
            binding,
            input,
            output,
            result: DynTensor::new(&self.host, like.kind, like.shape.clone())?,
        })
    }
}

fn refused(why: &str) -> State {
    tracing::warn!("CUDA graphs are not used: {why}");
    State::Refused
}

impl Recording {
    fn run<T>(
        &mut self,
        session: &mut Session,
        options: &RunOptions,
        copies: Copies,
        values: &[T],
    ) -> ort::Result<()> {
        let bytes = std::mem::size_of_val(values);
        assert_eq!(
            bytes,
            bytes_of(&self.input),
            "the values are not of the recorded shape"
        );
        copies.copy(self.input.data_ptr_mut(), values.as_ptr().cast(), bytes)?;
        drop(session.run_binding_with_options(&self.binding, options)?);
        let bytes = bytes_of(&self.output);
        copies.copy(self.result.data_ptr_mut(), self.output.data_ptr(), bytes)
    }
}

/// Bytes that a tensor of plain numbers takes.
fn bytes_of(tensor: &DynTensor) -> usize {
    tensor.shape().num_elements() * tensor.data_type().byte_size(1).unwrap_or(0)
}

/// The values of a result on the host.
fn floats(result: &DynValue) -> ort::Result<Vec<f32>> {
    match result.dtype().tensor_type() {
        Some(TensorElementType::Float16) => {
            let (_, values) = result.try_extract_tensor::<f16>()?;
            Ok(values.iter().map(|value| value.to_f32()).collect())
        }
        _ => Ok(result.try_extract_tensor::<f32>()?.1.to_vec()),
    }
}

fn is_same(wanted: &[f32], found: &[f32]) -> bool {
    let (least, most) = wanted.iter().fold((f32::MAX, f32::MIN), |(least, most), value| {
        (least.min(*value), most.max(*value))
    });
    let allowed = DIFFERENCE_MAX * (most - least).max(f32::MIN_POSITIVE);
    wanted.len() == found.len() && wanted.iter().zip(found).all(|(a, b)| (a - b).abs() <= allowed)
}

/// CUDA's copy between any two places: `cudaError_t cudaMemcpy(void *dst, const void *src, size_t count, cudaMemcpyKind)`.
type CudaMemcpy = unsafe extern "C" fn(*mut c_void, *const c_void, usize, c_int) -> c_int;

/// `cudaMemcpyDefault`: from where to where is seen by the addresses, which are of one space on 64-bit systems.
const BY_ADDRESS: c_int = 4;

/// What copies between the host and the card. It returns when the copy is done, and does not wait for what other lanes
/// compute: ONNX Runtime's streams are of the kind that the default stream does not order.
#[derive(Clone, Copy)]
enum Copies {
    Cuda(CudaMemcpy),
    /// Where the card is the host itself.
    #[cfg(test)]
    Host,
}

impl Copies {
    /// From CUDA's library, which its provider has loaded.
    fn of_cuda() -> ort::Result<Self> {
        for library in [c"libcudart.so.13", c"libcudart.so.12"] {
            // SAFETY: both texts end with a zero byte. The library is loaded already, or loading it runs its initialisers
            // as the provider would; it is never unloaded, so the function stays where it is found.
            let function = unsafe {
                let library = libc::dlopen(library.as_ptr(), libc::RTLD_NOW);
                if library.is_null() {
                    continue;
                }
                libc::dlsym(library, c"cudaMemcpy".as_ptr())
            };
            if !function.is_null() {
                // SAFETY: cuda_runtime_api.h of CUDA 12 and 13; the enumerations are `int`.
                return Ok(Self::Cuda(unsafe {
                    std::mem::transmute::<*mut c_void, CudaMemcpy>(function)
                }));
            }
        }
        Err(ort::Error::new("CUDA's library has no cudaMemcpy"))
    }

    fn copy(self, to: *mut c_void, from: *const c_void, bytes: usize) -> ort::Result<()> {
        match self {
            Self::Cuda(copy) => {
                // SAFETY: both places are buffers of `bytes` bytes at least: a slice, or a tensor of that size by its shape
                // and type ([`bytes_of`]), which nothing else touches meanwhile: the recording owns its tensors, and no
                // run of its session is in flight.
                match unsafe { copy(to, from, bytes, BY_ADDRESS) } {
                    0 => Ok(()),
                    code => Err(ort::Error::new(format!(
                        "CUDA failure {code}: cudaMemcpy of {bytes} bytes"
                    ))),
                }
            }
            #[cfg(test)]
            Self::Host => {
                // SAFETY: as above; the places are on the host, and different ones.
                unsafe { std::ptr::copy_nonoverlapping(from.cast::<u8>(), to.cast::<u8>(), bytes) };
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::card::{Element, Layout};
    use super::super::tensor::{Format, Pictures, Running, Scratch, run};
    use super::super::{Model, testing};
    use super::*;
    use crate::size::Size;

    fn replay(session: &Session) -> Replay {
        Replay::open_between(
            session,
            (AllocationDevice::CPU, 0),
            AllocationDevice::CPU,
            Copies::Host,
        )
        .unwrap()
    }

    const FORMAT: Format = Format {
        layout: Layout::Nchw,
        channels: 3,
        input: Element::Fp32,
        range: [0.0, 1.0],
    };

    fn upscale(session: &mut Session, replay: Option<&mut Replay>, side: u32, shift: f32) -> Vec<f32> {
        let data: Vec<f32> = (0..3 * side * side)
            .map(|at| (at % 17) as f32 / 32.0 + shift)
            .collect();
        let pictures = Pictures {
            data: &data,
            count: 1,
            size: Size::new(side, side),
        };
        let options = RunOptions::new().unwrap();
        let mut running = Running {
            session,
            options: &options,
            staging: None,
            replay: replay.map(|replay| (replay, &options)),
        };
        run(
            &mut running,
            &FORMAT,
            pictures,
            &mut Scratch::default(),
            |result| result.data.to_vec(),
        )
        .unwrap()
    }

    /// There is no card here: the places are the processor's own, and a run there is done anew each time. What is tested is
    /// the way of the pixels to them and back.
    #[test]
    fn a_recorded_run_takes_new_pixels_and_other_shapes_go_their_way() {
        let runtime = testing::runtime();
        let mut session = Session::builder(&runtime.environment)
            .unwrap()
            .commit_from_memory(&Model::built_in("span-x2").unwrap().onnx)
            .unwrap();
        let mut replay = replay(&session);
        assert!(replay.is_waiting());
        for (side, shift) in [(24, 0.0), (24, 0.3), (40, 0.1), (24, 0.2)] {
            let repeated = upscale(&mut session, Some(&mut replay), side, shift);
            assert_eq!(
                repeated,
                upscale(&mut session, None, side, shift),
                "{side} {shift}"
            );
            assert!(replay.has([1, 3, 24, 24]) && !replay.has([1, 3, 40, 40]));
        }
    }

    /// As a graph whose inputs were not bound would.
    #[test]
    fn a_recording_that_does_not_repeat_itself_is_refused() {
        let runtime = testing::runtime();
        let mut session = Session::builder(&runtime.environment)
            .unwrap()
            .commit_from_memory(&Model::built_in("span-x2").unwrap().onnx)
            .unwrap();
        let mut replay = replay(&session);
        let values = vec![0.5_f32; 3 * 24 * 24];
        let mut calls = 0;
        let mut anew = |_: &mut Session, _: &[f32]| {
            calls += 1;
            // What the second run gives is what the first one gave.
            Ok(Done {
                values: vec![0.5; 3 * 48 * 48],
                kind: TensorElementType::Float32,
                shape: vec![1, 3, 48, 48],
            })
        };
        let options = RunOptions::new().unwrap();
        replay
            .record(&mut session, &options, [1, 3, 24, 24], &values, &mut anew)
            .unwrap();
        assert_eq!(calls, 2);
        assert!(!replay.is_waiting() && !replay.has([1, 3, 24, 24]));
    }

    #[test]
    fn results_are_held_against_the_range_of_their_values() {
        assert!(is_same(&[0.0, 255.0], &[0.2, 255.0]));
        assert!(!is_same(&[0.0, 255.0], &[0.3, 255.0]));
        assert!(!is_same(&[0.0, 1.0], &[0.0, 1.0, 1.0]));
        assert!(is_same(&[0.5, 0.5], &[0.5, 0.5]));
        assert!(!is_same(&[0.5, 0.5], &[f32::NAN, 0.5]));
    }
}
