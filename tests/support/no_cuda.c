/* Stands in for the NVIDIA driver's library on a machine without one: enough for CUDA's own libraries to load, and for
 * every call to say that there is no device. So ONNX Runtime's CUDA provider can be asked which options it knows. */

int cuInit(unsigned flags) {
    (void)flags;
    return 100; /* CUDA_ERROR_NO_DEVICE */
}

int cuDriverGetVersion(int *version) {
    *version = 13000;
    return 0;
}

int cuTensorMapEncodeTiled(void) { return 100; }

int cuGetErrorString(int error, const char **text) {
    (void)error;
    *text = "no device: this is a stand-in for the driver";
    return 0;
}
