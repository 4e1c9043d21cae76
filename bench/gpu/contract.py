"""The C contract, native/include/infonce/infonce.h, through ctypes: no build step, no copies.

    backend = load("build-cuda/Release/libinfonce_cuda.so")
    with backend.context(precision="medium", stream=torch_stream.cuda_stream) as context:
        context.run(problem, result)    # pointers to device memory in, results in device memory out
"""

import ctypes
import os
from ctypes import CFUNCTYPE, POINTER, c_char, c_char_p, c_double, c_int32, c_int64, c_uint32, c_void_p
from dataclasses import dataclass

ABI_VERSION = 6
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
DENOMINATOR_OTHER_ANCHORS, DENOMINATOR_ALL_KEYS = 0, 1
POSITIVE_FIRST_VIEW, POSITIVE_SAME_INDEX = 0, 3
REDUCTION_MEAN = 0
ARRAY_ALL = 511  # of a problem's on_device; 0: all in host memory
PRECISION = {"highest": 0, "high": 1, "medium": 2}


class Sized(ctypes.Structure):
    """A struct that begins with its own size, so that the library can refuse one of another version."""

    def __init__(self, **fields):
        super().__init__(struct_size=ctypes.sizeof(self), **fields)


class Problem(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("denominator", c_int32),
        ("positive", c_int32),
        ("reduction", c_int32),
        ("both_directions", c_int32),
        ("normalize", c_int32),
        ("gradient", c_int32),
        ("propagate_non_finite", c_int32),
        ("ranks", c_int32),
        ("on_device", c_uint32),
        ("anchors_type", c_int32),
        ("keys_type", c_int32),
        ("negatives_type", c_int32),
        ("rows", c_int64),
        ("dim", c_int64),
        ("negative_rows", c_int64),
        ("views", c_int64),
        ("grad_output_count", c_int64),
        ("scale", c_double),
        ("anchors", c_void_p),
        ("keys", c_void_p),
        ("negatives", c_void_p),
        ("labels", c_void_p),
        ("grad_output", c_void_p),
        ("cancelled", c_void_p),
    ]


class Result(Sized):
    _fields_ = [
        ("struct_size", c_uint32),
        ("loss", c_double),
        ("grad_scale", c_double),
        ("top1", c_double),
        ("top5", c_double),
        ("row_loss", c_void_p),
        ("grad_anchors", c_void_p),
        ("grad_keys", c_void_p),
        ("grad_negatives", c_void_p),
        ("scalars", c_void_p),
        ("upload_seconds", c_double),
        ("kernel_seconds", c_double),
        ("download_seconds", c_double),
    ]


class Failure(Sized):
    _fields_ = [("struct_size", c_uint32), ("input", c_int32), ("row", c_int64), ("message", c_char * 256)]


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
        """With ARRAY_ALL on the device and result.scalars it returns as soon as the work is in the stream."""
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


def describe(loss, rows, dim, scale, anchors, keys=None, on_device=ARRAY_ALL):
    """The problem of a loss over matrices in device memory or, with on_device=0, in the host's, with gradients.

    Pointers are integers."""
    one_tower = loss == "ntXent"
    return Problem(
        denominator=DENOMINATOR_OTHER_ANCHORS if one_tower else DENOMINATOR_ALL_KEYS,
        positive=POSITIVE_FIRST_VIEW if one_tower else POSITIVE_SAME_INDEX,
        reduction=REDUCTION_MEAN,
        both_directions=int(loss == "clip"),
        normalize=1,
        gradient=1,
        ranks=1,
        on_device=on_device,
        rows=rows,
        dim=dim,
        views=2 if one_tower else 0,
        scale=scale,
        anchors=anchors,
        keys=None if one_tower else keys,
    )
