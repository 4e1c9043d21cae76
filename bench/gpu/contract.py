"""The C contract, native/include/infonce/infonce.h, through ctypes: no build step, no copies.

    backend = load("build-cuda/Release/libinfonce_cuda.so")
    with backend.context(precision="medium", stream=torch_stream.cuda_stream) as context:
        context.run(problem, result)    # pointers to device memory in, results in device memory out
"""

import ctypes
import os
import re
from ctypes import CFUNCTYPE, POINTER, c_char, c_char_p, c_double, c_int32, c_int64, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path

HEADER = Path(__file__).resolve().parents[2] / "native" / "include" / "infonce" / "infonce.h"
ABI_VERSION = int(re.search(r"#define INFONCE_ABI_VERSION (\d+)", HEADER.read_text()).group(1))
ENTRY = "infonce_shared_backend"

STATUS = {
    0: "INFONCE_OK",
    1: "INFONCE_INVALID_ARGUMENT",
    2: "INFONCE_NON_FINITE",
    3: "INFONCE_OUT_OF_MEMORY",
    4: "INFONCE_DEVICE_UNAVAILABLE",
    5: "INFONCE_INTERNAL",
    6: "INFONCE_CANCELLED",
    7: "INFONCE_DEVICE_LOST",
}
LEAVE_OUT_SAME_ROW = 1
POSITIVE_FIRST_VIEW, POSITIVE_SAME_INDEX = 0, 3
REDUCTION_MEAN = 0
ON_HOST, ON_DEVICE = 0, 1
MOST_MATRICES, MOST_BLOCKS, MOST_SOFTMAXES = 4, 4, 2
PRECISION = {"highest": 0, "high": 1, "medium": 2}


class Sized(ctypes.Structure):
    """A struct that begins with its own size, so that the library can refuse one of another version."""

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Matrix(ctypes.Structure):
    _fields_ = [
        ("data", c_void_p),
        ("type", c_int32),
        ("residence", c_int32),
        ("rows", c_int64),
        ("views", c_int64),
        ("ids", c_void_p),
    ]


class Block(ctypes.Structure):
    _fields_ = [
        ("anchors", c_int32),
        ("candidates", c_int32),
        ("row_softmax", c_int32),
        ("column_softmax", c_int32),
        ("left_out", c_uint32),
        ("own", c_int32),
    ]


class Softmax(ctypes.Structure):
    _fields_ = [
        ("anchors", c_int32),
        ("positive", c_int32),
        ("positive_matrices", c_uint32),
        ("row_loss", c_int32),
        ("weight", c_double),
    ]


class GradOutput(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("count", c_int64), ("residence", c_int32)]


class Problem(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("matrix_count", c_int32),
        ("block_count", c_int32),
        ("softmax_count", c_int32),
        ("matrices", Matrix * MOST_MATRICES),
        ("blocks", Block * MOST_BLOCKS),
        ("softmaxes", Softmax * MOST_SOFTMAXES),
        ("reduction", c_int32),
        ("normalize", c_int32),
        ("gradient", c_int32),
        ("propagate_non_finite", c_int32),
        ("ranks", c_int32),
        ("dim", c_int64),
        ("scale", c_double),
        ("grad_output", GradOutput),
        ("cancelled", c_void_p),
    ]


class Output(ctypes.Structure):
    _fields_ = [("data", c_void_p), ("residence", c_int32)]


class Scalars(ctypes.Structure):
    _fields_ = [("loss", c_double), ("grad_scale", c_double), ("top1", c_double), ("top5", c_double)]


class Result(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("scalars", Scalars),
        ("row_loss", Output),
        ("gradients", Output * MOST_MATRICES),
        ("device_scalars", c_void_p),
        ("upload_seconds", c_double),
        ("kernel_seconds", c_double),
        ("download_seconds", c_double),
    ]


class Failure(Sized):
    _fields_ = [("struct_size", c_uint32), ("matrix", c_int32), ("row", c_int64), ("message", c_char * 256)]


class ContextOptions(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("precision", c_int32),
        ("threads", c_int32),
        ("device", c_int32),
        ("instruction_set", c_char_p),
        ("stream", c_void_p),
        ("measure", c_int32),
        ("trace", c_int32),
    ]


class DeviceInfo(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("threads", c_int32),
        ("memory", c_int64),
        ("name", c_char * 128),
        ("instruction_set", c_char * 32),
        ("instruction_sets", c_char * 128),
        ("medium", c_char * 32),
        ("capability", c_char * 16),
        ("code", c_char * 32),
        ("driver_version", c_int32),
        ("runtime_version", c_int32),
        ("multiprocessors", c_int32),
        ("clock_khz", c_int32),
        ("memory_bandwidth", c_int64),
        ("note", c_char * 256),
    ]


class Table(ctypes.Structure):
    """infonce_backend."""

    _fields_ = [
        ("struct_size", c_uint32),
        ("abi_version", c_uint32),
        ("name", c_char_p),
        ("device_count", CFUNCTYPE(c_int32, POINTER(Failure))),
        ("device_info", CFUNCTYPE(c_int32, c_int32, POINTER(DeviceInfo), POINTER(Failure))),
        ("context_create", CFUNCTYPE(c_int32, POINTER(ContextOptions), POINTER(c_void_p), POINTER(Failure))),
        ("context_destroy", CFUNCTYPE(None, c_void_p)),
        ("run", CFUNCTYPE(c_int32, c_void_p, POINTER(Problem), POINTER(Result), POINTER(Failure))),
        ("begin", CFUNCTYPE(c_int32, c_void_p, POINTER(Problem), POINTER(Result), POINTER(c_void_p), POINTER(Failure))),
        ("end", CFUNCTYPE(c_int32, c_void_p, c_void_p, POINTER(Failure))),
        # What is not called from here.
        *[(name, c_void_p) for name in ("forward", "backward", "saved_destroy", "logits", "memory_required",
                                        "allocate", "release", "copy", "trim")],
        ("host_allocate", CFUNCTYPE(c_int32, c_int32, c_int64, POINTER(c_void_p), POINTER(Failure))),
        ("host_release", CFUNCTYPE(None, c_void_p)),
        ("measure", c_void_p),
    ]


class InfonceError(RuntimeError):
    def __init__(self, status, failure):
        name = STATUS.get(status, f"status {status}")
        super().__init__(f"{name}: {failure.message.decode(errors='replace') or 'no reason given'}")
        self.status = name


@dataclass(frozen=True)
class Device:
    name: str
    memory: int
    instruction_set: str
    instruction_sets: tuple  # best first
    note: str  # why a set is missing
    capability: str
    code: str  # which code of the library it runs
    driver_version: int
    runtime_version: int
    multiprocessors: int
    clock_khz: int
    memory_bandwidth: int


class Backend:
    """A loaded library. Raises InfonceError where it cannot compute here."""

    def __init__(self, path):
        try:
            self.library = ctypes.CDLL(str(path))
            entry = getattr(self.library, ENTRY)
        except (OSError, AttributeError) as error:
            raise InfonceError(4, Failure(message=str(error).encode()[:255])) from error
        entry.argtypes = [c_uint32, c_uint32, POINTER(Failure)]
        entry.restype = POINTER(Table)
        failure = Failure()
        table = entry(ABI_VERSION, ctypes.sizeof(Table), ctypes.byref(failure))
        if not table:
            raise InfonceError(4, failure)
        self.table = table.contents

    def devices(self):
        """Those that can be used. None at all is an error with the reason."""
        failure = Failure()
        count = self.table.device_count(ctypes.byref(failure))
        if count < 1:
            raise InfonceError(4, failure)
        return [self.device(index) for index in range(count)]

    def device(self, index):
        info, failure = DeviceInfo(), Failure()
        check(self.table.device_info(index, ctypes.byref(info), ctypes.byref(failure)), failure)
        return Device(
            name=info.name.decode(),
            memory=info.memory,
            instruction_set=info.instruction_set.decode(),
            instruction_sets=tuple(info.instruction_sets.decode().split()),
            note=info.note.decode(),
            capability=info.capability.decode(),
            code=info.code.decode(),
            driver_version=info.driver_version,
            runtime_version=info.runtime_version,
            multiprocessors=info.multiprocessors,
            clock_khz=info.clock_khz,
            memory_bandwidth=info.memory_bandwidth,
        )

    def host_allocate(self, count):
        """Page-locked memory of `count` bytes; host_release() it."""
        pointer, failure = c_void_p(), Failure()
        check(self.table.host_allocate(0, count, ctypes.byref(pointer), ctypes.byref(failure)), failure)
        return pointer.value

    def host_release(self, pointer):
        self.table.host_release(pointer)

    def context(self, precision="highest", stream=None, device=0, measure=False, trace=True):
        """INFONCE_ISA forces a generation of kernels, as it does in Node.js."""
        kernels = os.environ.get("INFONCE_ISA")
        options = ContextOptions(precision=PRECISION[precision], device=device, stream=stream, measure=int(measure),
                                 trace=int(trace), instruction_set=kernels.encode() if kernels else None)
        return Context(self.table, options)


class Context:
    """Keeps its workspace until it is closed."""

    def __init__(self, table, options):
        self.table = table
        self.handle = c_void_p()
        self.failure = Failure()
        status = table.context_create(ctypes.byref(options), ctypes.byref(self.handle), ctypes.byref(self.failure))
        check(status, self.failure)

    def run(self, problem, result):
        """With device_scalars it returns as soon as the work is in the stream."""
        status = self.table.run(self.handle, ctypes.byref(problem), ctypes.byref(result), ctypes.byref(self.failure))
        check(status, self.failure)

    def begin(self, problem, result):
        """A call for end(). Arrays and result must stay until then."""
        call = c_void_p()
        status = self.table.begin(self.handle, ctypes.byref(problem), ctypes.byref(result), ctypes.byref(call),
                                  ctypes.byref(self.failure))
        check(status, self.failure)
        return call

    def end(self, call):
        check(self.table.end(self.handle, call, ctypes.byref(self.failure)), self.failure)

    def close(self):
        if self.handle:
            self.table.context_destroy(self.handle)
            self.handle = c_void_p()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def check(status, failure):
    if status != 0:
        raise InfonceError(status, failure)


LOSSES = ("ntXent", "infoNCE", "clip")


def describe(loss, rows, dim, scale, *matrices, residence=ON_DEVICE):
    """The problem of a loss over one or two matrices, with gradients. Pointers are integers."""
    views = 2 if loss == "ntXent" else 1
    if loss == "ntXent":
        blocks = [Block(0, 0, 0, 0, LEAVE_OUT_SAME_ROW, 0)]
        softmaxes = [Softmax(0, POSITIVE_FIRST_VIEW, 1, 0, 1.0)]
    elif loss == "infoNCE":
        blocks = [Block(0, 1, 0, -1, 0, 0)]
        softmaxes = [Softmax(0, POSITIVE_SAME_INDEX, 2, 0, 1.0)]
    else:
        blocks = [Block(0, 1, 0, 1, 0, 0)]
        softmaxes = [Softmax(0, POSITIVE_SAME_INDEX, 2, 0, 0.5), Softmax(1, POSITIVE_SAME_INDEX, 1, 0, 0.5)]
    return Problem(
        matrix_count=len(matrices),
        block_count=len(blocks),
        softmax_count=len(softmaxes),
        matrices=(Matrix * MOST_MATRICES)(*(Matrix(data, 0, residence, rows, views, None) for data in matrices)),
        blocks=(Block * MOST_BLOCKS)(*blocks),
        softmaxes=(Softmax * MOST_SOFTMAXES)(*softmaxes),
        reduction=REDUCTION_MEAN,
        normalize=1,
        gradient=1,
        ranks=1,
        dim=dim,
        scale=scale,
    )


def result_of(gradients, device_scalars=None, residence=ON_DEVICE):
    """A result with these gradients, one for each matrix. Pointers are integers."""
    outputs = (Output * MOST_MATRICES)(*(Output(data, residence) for data in gradients))
    return Result(gradients=outputs, device_scalars=device_scalars)
