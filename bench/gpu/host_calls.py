"""Calls on page-locked arrays of the host, which the device copies directly: one at a time, or several in flight."""

import collections
import ctypes
import statistics
import time

import presets


class HostCall:
    """A problem and its gradients in page-locked memory. `towers` are sequences of rows * dim floats each."""

    def __init__(self, backend, shape, scale, towers):
        self.backend = backend
        self.inputs = [self.allocate(shape.rows * shape.dim, tower) for tower in towers]
        self.gradients = [self.allocate(shape.rows * shape.dim) for _ in towers]
        pointers = [[ctypes.addressof(array) for array in arrays] for arrays in (self.inputs, self.gradients)]
        self.problem, self.result = presets.call(shape, scale, *pointers, presets.ON_HOST)

    def allocate(self, count, values=None):
        array = (ctypes.c_float * count).from_address(self.backend.host_allocate(4 * count))
        if values is not None:
            array[:] = values
        return array

    def free(self):
        for array in (*self.inputs, *self.gradients):
            self.backend.host_release(ctypes.addressof(array))


def run_in_flight(context, calls, count, in_flight):
    """`count` calls in turn, never more than `in_flight` of them begun and not ended. Returns the seconds."""
    flying = collections.deque()
    start = time.perf_counter()
    for k in range(count):
        if len(flying) == in_flight:
            context.end(flying.popleft())
        call = calls[k % len(calls)]
        flying.append(context.begin(call.problem, call.result))
    while flying:
        context.end(flying.popleft())
    return time.perf_counter() - start


def rates(context, calls, seconds):
    """Calls a second, one at a time and two in flight: the medians of turns that alternate, `seconds` each."""
    found = {1: [], 2: []}
    once = run_in_flight(context, calls, 6, 2) / 6
    count = max(6, int(seconds / once))
    for _ in range(5 if seconds else 1):
        for flying, turns in found.items():
            turns.append(count / run_in_flight(context, calls, count, flying))
    one, two = (statistics.median(turns) for turns in found.values())
    return {"oneAtATime": one, "twoInFlight": two, "gain": two / one}
