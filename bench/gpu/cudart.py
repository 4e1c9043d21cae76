"""The few functions of the CUDA runtime that a program without PyTorch needs, through ctypes."""

import contextlib
import ctypes
import ctypes.util
import os
import shutil
from ctypes import byref, c_float, c_int, c_size_t, c_void_p

TO_DEVICE, TO_HOST = 1, 2
L2_CACHE_SIZE = 38  # cudaDevAttrL2CacheSize
NAMES = ("libcudart.so.13", "libcudart.so.12", "libcudart.so")
NON_BLOCKING = 1


class CudaError(RuntimeError):
    pass


class Runtime:
    def __init__(self):
        self.library = load()
        self.library.cudaGetErrorString.restype = ctypes.c_char_p

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            raise CudaError(f"{name}: {self.library.cudaGetErrorString(code).decode()} ({code})")

    def upload(self, values):
        """Device memory with the bytes of an array.array; free() it."""
        data = memoryview(values).cast("B")
        pointer = self.allocate(data.nbytes)
        self.call("cudaMemcpy", c_void_p(pointer), (ctypes.c_char * data.nbytes).from_buffer(values),
                  c_size_t(data.nbytes), TO_DEVICE)
        return pointer

    def download(self, pointer, values):
        """Fills an array.array or a bytearray from device memory."""
        data = memoryview(values).cast("B")
        self.call("cudaMemcpy", (ctypes.c_char * data.nbytes).from_buffer(values), c_void_p(pointer),
                  c_size_t(data.nbytes), TO_HOST)
        return values

    def allocate(self, count, fill=0xFF):
        """Device memory whose bytes are `fill`: NaN, so that nothing unwritten passes for a result."""
        pointer = c_void_p()
        self.call("cudaMalloc", byref(pointer), c_size_t(count))
        self.call("cudaMemset", pointer, c_int(fill), c_size_t(count))
        return pointer.value

    def free(self, pointer):
        self.call("cudaFree", c_void_p(pointer))

    def stream(self):
        handle = c_void_p()
        self.call("cudaStreamCreateWithFlags", byref(handle), c_int(NON_BLOCKING))
        return handle.value

    def synchronize(self, stream):
        self.call("cudaStreamSynchronize", c_void_p(stream))

    def free_memory(self):
        free, total = c_size_t(), c_size_t()
        self.call("cudaMemGetInfo", byref(free), byref(total))
        return free.value

    def attribute(self, which, device=0):
        value = c_int()
        self.call("cudaDeviceGetAttribute", byref(value), c_int(which), c_int(device))
        return value.value

    @contextlib.contextmanager
    def events(self, count):
        handles = [c_void_p() for _ in range(count)]
        for handle in handles:
            self.call("cudaEventCreate", byref(handle))
        try:
            yield handles
        finally:
            for handle in handles:
                self.call("cudaEventDestroy", handle)

    def record(self, event, stream):
        self.call("cudaEventRecord", event, c_void_p(stream))

    def milliseconds(self, start, end):
        found = c_float()
        self.call("cudaEventElapsedTime", byref(found), start, end)
        return found.value


def folders():
    """Where a toolkit keeps its runtime: that of nvcc, or the usual one."""
    nvcc = shutil.which("nvcc")
    homes = [os.environ.get("CUDA_HOME"), nvcc and os.path.dirname(os.path.dirname(os.path.realpath(nvcc))),
             "/usr/local/cuda"]
    return [os.path.join(home, "lib64") for home in homes if home]


def load():
    found = ctypes.util.find_library("cudart")
    in_folders = [os.path.join(folder, name) for folder in folders() for name in NAMES]
    for name in (*NAMES, *([found] if found else []), *in_folders):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    looked_for = ", ".join(NAMES)
    raise CudaError(f"no CUDA runtime library: looked for {looked_for} (set LD_LIBRARY_PATH to the toolkit's lib64)")
