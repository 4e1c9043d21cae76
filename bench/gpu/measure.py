"""Times and memory on the device. Nothing here synchronises inside what is timed."""

import math
import statistics

import contract
import presets
import report
import torch

ROUNDS = 5
FEWEST_SAMPLES = 5
MOST_SAMPLES = 400


class Sets:
    """Several sets of inputs and gradients, used in turn, so that no call finds its matrices in the L2 cache."""

    def __init__(self, shape, count=None, seed=20_001):
        generator = torch.Generator("cuda").manual_seed(seed)
        self.count = count or enough_sets(shape)
        size = (shape.rows, shape.dim)
        self.inputs = [
            [torch.randn(size, device="cuda", generator=generator).requires_grad_() for _ in range(shape.towers)]
            for _ in range(self.count)
        ]
        self.gradients = [
            [torch.full(size, math.nan, device="cuda") for _ in range(shape.towers)] for _ in range(self.count)
        ]


def enough_sets(shape):
    return shape.enough_sets(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 64 << 20))


class Infonce:
    """Calls of the library on PyTorch's tensors, in PyTorch's stream, with the scalars left on the device."""

    def __init__(self, context, shape, sets, scale):
        self.context = context
        # Bytes of NaN.
        self.scalars = torch.full((contract.SCALARS_BYTES,), 0xFF, dtype=torch.uint8, device="cuda")
        self.calls = []
        for arrays in zip(sets.inputs, sets.gradients):
            pointers = [[tensor.data_ptr() for tensor in tensors] for tensors in arrays]
            self.calls.append(presets.call(shape, scale, *pointers, device_scalars=self.scalars.data_ptr()))

    def __call__(self, k):
        self.context.run(*self.calls[k % len(self.calls)])


def time_in_turn(contestants, seconds):
    """name -> {medianMs, madMs, minMs, samples}. Each is warmed up; then all take turns, `seconds` in all for each.

    `contestants` are functions of the number of the set to use. Calls are queued back to back with an event between
    them: the time of one is what it adds to the queue, launches included where they are what takes longest.
    """
    plans, samples = {}, {name: [] for name in contestants}
    for name, call in contestants.items():
        batch(call, 2)
        once = batch(call, 3)
        wanted = seconds * 1000 / ROUNDS / max(statistics.median(once), 1e-3)
        plans[name] = int(min(max(wanted, FEWEST_SAMPLES / ROUNDS), MOST_SAMPLES / ROUNDS))
    for _ in range(ROUNDS):
        for name, call in contestants.items():
            samples[name] += batch(call, plans[name])
    return {name: report.summary(times) for name, times in samples.items()}


def batch(call, count):
    events = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    torch.cuda.synchronize()
    events[0].record()
    for k in range(count):
        call(k)
        events[k + 1].record()
    torch.cuda.synchronize()
    return [start.elapsed_time(end) for start, end in zip(events, events[1:])]


def pytorch_extra_bytes(call, shape):
    """The most that PyTorch has allocated during a call, beyond the inputs and the gradients it returns."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call(0)
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before - shape.towers * shape.matrix_bytes


def infonce_extra_bytes(make_context, make_call):
    """What the device's free memory lost to a context and its first call: the whole workspace.

    The same is done once before, so that the code of the kernels is loaded and not counted.
    """
    for _ in range(2):
        torch.cuda.synchronize()
        before = torch.cuda.mem_get_info()[0]
        with make_context() as context:
            make_call(context)(0)
            torch.cuda.synchronize()
            extra = before - torch.cuda.mem_get_info()[0]
    return extra


def relative_error(actual, expected):
    return (torch.linalg.vector_norm(actual.double() - expected) / torch.linalg.vector_norm(expected)).item()
