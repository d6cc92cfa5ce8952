//! Somebody else on the card, who takes what there is: memory by CUDA itself, beside ONNX Runtime and its arenas.

use std::ffi::{CStr, c_int, c_void};

type CudaMemGetInfo = unsafe extern "C" fn(*mut usize, *mut usize) -> c_int;
type CudaMalloc = unsafe extern "C" fn(*mut *mut c_void, usize) -> c_int;
type CudaFree = unsafe extern "C" fn(*mut c_void) -> c_int;

/// Memory of the card that is nobody's to use, until this is dropped.
pub struct Hog {
    free: CudaFree,
    held: Vec<*mut c_void>,
    pub bytes: u64,
}

impl Hog {
    /// Takes the first card's memory but so much.
    pub fn leaving(left_bytes: u64) -> Self {
        // SAFETY: cuda_runtime_api.h of CUDA 13: `cudaError_t cudaMalloc(void **devPtr, size_t size)`,
        // `cudaError_t cudaFree(void *devPtr)`; an enumeration is an `int`.
        let (malloc, free) = unsafe {
            (
                std::mem::transmute::<*mut c_void, CudaMalloc>(function(c"cudaMalloc")),
                std::mem::transmute::<*mut c_void, CudaFree>(function(c"cudaFree")),
            )
        };
        let mut hog = Self {
            free,
            held: Vec::new(),
            bytes: 0,
        };
        for chunk in [1_u64 << 30, 256 << 20, 64 << 20] {
            while free_bytes() > left_bytes + chunk {
                let mut address = std::ptr::null_mut();
                // SAFETY: `address` is written, and what it then points to is never touched here.
                if unsafe { malloc(&raw mut address, chunk as usize) } != 0 {
                    break;
                }
                hog.held.push(address);
                hog.bytes += chunk;
            }
        }
        hog
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        for address in self.held.drain(..) {
            // SAFETY: it came from `cudaMalloc` and is freed once.
            unsafe { (self.free)(address) };
        }
    }
}

/// What is free on CUDA's first card. Not the driver's word for its own first one: CUDA may count them in another order, or
/// have a part of one.
pub fn free_bytes() -> u64 {
    // SAFETY: as above: `cudaError_t cudaMemGetInfo(size_t *free, size_t *total)`.
    let info = unsafe { std::mem::transmute::<*mut c_void, CudaMemGetInfo>(function(c"cudaMemGetInfo")) };
    let (mut free, mut total) = (0, 0);
    // SAFETY: both are written.
    let code = unsafe { info(&raw mut free, &raw mut total) };
    assert_eq!(code, 0, "cudaMemGetInfo");
    free as u64
}

/// A function of CUDA's library, which CUDA's provider has loaded before.
fn function(name: &CStr) -> *mut c_void {
    // SAFETY: both texts end with a zero byte; the library is loaded already, and never unloaded.
    let found = unsafe {
        let library = libc::dlopen(c"libcudart.so.13".as_ptr(), libc::RTLD_NOW);
        assert!(
            !library.is_null(),
            "CUDA's library is not loaded: open a session first"
        );
        libc::dlsym(library, name.as_ptr())
    };
    assert!(!found.is_null(), "CUDA's library has no {name:?}");
    found
}
