"""The C contract, native/include/infonce/infonce.h, through ctypes: no build step, no copies.

    backend = Backend("build-cuda/Release/libinfonce_cuda.so")
    with backend.context(precision="medium", stream=torch_stream.cuda_stream) as context:
        context.run(*presets.call(…))    # pointers to device memory in, results in device memory out
"""

import ctypes
import os
from ctypes import POINTER, c_uint32, c_void_p
from dataclasses import dataclass

from header import ENTRY, NUMBERS, STATUS, STRUCTS

PRECISION = {level: NUMBERS[f"PRECISION_{level.upper()}"] for level in ("highest", "high", "medium")}
UNAVAILABLE = NUMBERS["DEVICE_UNAVAILABLE"]
Failure, Scalars = STRUCTS["failure"], STRUCTS["scalars"]
SCALARS_BYTES = ctypes.sizeof(Scalars)


def scalars(data):
    """What a call left of its device_scalars, by name."""
    found = Scalars.from_buffer_copy(data)
    return {name: getattr(found, name) for name, _ in Scalars._fields_}


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
            raise InfonceError(UNAVAILABLE, Failure(message=str(error).encode()[:255])) from error
        entry.argtypes = [c_uint32, c_uint32, POINTER(Failure)]
        entry.restype = POINTER(STRUCTS["backend"])
        failure = Failure()
        table = entry(NUMBERS["ABI_VERSION"], ctypes.sizeof(STRUCTS["backend"]), ctypes.byref(failure))
        if not table:
            raise InfonceError(UNAVAILABLE, failure)
        self.table = table.contents

    def devices(self):
        """Those that can be used. None at all is an error with the reason."""
        failure = Failure()
        count = self.table.device_count(ctypes.byref(failure))
        if count < 1:
            raise InfonceError(UNAVAILABLE, failure)
        return [self.device(index) for index in range(count)]

    def device(self, index):
        info, failure = STRUCTS["device_info"](), Failure()
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
        options = STRUCTS["context_options"](
            precision=PRECISION[precision], device=device, stream=stream, measure=int(measure), trace=int(trace),
            instruction_set=kernels.encode() if kernels else None,
        )
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

    def capture(self, problem, result):
        """A call to be repeated by replay(), for destroy(). Rows and gradients are on the device."""
        graph = c_void_p()
        status = self.table.capture(self.handle, ctypes.byref(problem), ctypes.byref(result), ctypes.byref(graph),
                                    ctypes.byref(self.failure))
        check(status, self.failure)
        return graph

    def replay(self, graph, result):
        """A call for end()."""
        call = c_void_p()
        status = self.table.replay(self.handle, graph, None, ctypes.byref(result), ctypes.byref(call),
                                   ctypes.byref(self.failure))
        check(status, self.failure)
        return call

    def destroy(self, graph):
        self.table.graph_destroy(self.handle, graph)

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
