#!/usr/bin/env python3
"""One figure a process, for first-minutes.sh: what hangs or crashes takes nothing else along.

    python3 bench/gpu/figure.py versions | device [--context] | aims | once | time | flights | errors | torch | ncu  [--help]

Prints a line of JSON for each figure as soon as it is there. INFONCE_CUDA_LIBRARY names the library, INFONCE_ISA forces
a generation of kernels. Only `errors` and `torch` need PyTorch.
"""

import argparse
import csv
import importlib.metadata
import json
import math
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from array import array

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

import compare
import contract
import cudart
import host_calls
import presets
import report
from shapes import AIMS, MATRIX_FITS, Shape, faster_aims, judged

SCALE = 10.0  # temperature 0.1
WARM_UPS, FEWEST_SAMPLES, MOST_SAMPLES = 3, 5, 400
BLOCK = 262_147  # numbers that are drawn; a prime, so that rows which repeat them begin at other places
EXIT_FAILED, EXIT_SKIPPED = 1, 77
# What ncu tells of each kernel, few enough to be read: the sections that say what binds it.
NCU_SECTIONS = ("SpeedOfLight", "LaunchStats", "Occupancy", "WarpStateStats", "MemoryWorkloadAnalysis",
                "ComputeWorkloadAnalysis")


def main():
    options = parse()
    try:
        COMMANDS[options.command](options)
    except (contract.InfonceError, cudart.CudaError) as error:
        stop(str(error))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="short measurements, as a simulator can do")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("versions", help="of driver, toolkit, Python, PyTorch and the profiling tools")
    device = commands.add_parser("device", help="what the library says of the device")
    device.add_argument("--context", action="store_true", help="after a context was made")
    commands.add_parser("aims", help="LOSS LEVEL ROWSxDIM of the performance targets, one per line")
    for name, text in (("once", "one call"), ("time", "calls by CUDA events, the memory of the first call"),
                       ("flights", "calls a second on page-locked arrays, one at a time and two in flight"),
                       ("ncu", "what ncu tells of each kernel of a call"), ("torch", "the same in PyTorch")):
        command = commands.add_parser(name, help=text)
        command.add_argument("loss", choices=presets.LOSSES)
        if name == "torch":
            command.add_argument("form", choices=("eager", "compile"))
        else:
            command.add_argument("level", choices=contract.PRECISION)
        command.add_argument("sizes", nargs="+", type=size, metavar="ROWSxDIM")
        command.add_argument("--no-trace", action="store_true")
    commands.add_parser("errors", help="of loss and gradients against float64 of PyTorch, and the same bits twice")
    return parser.parse_args()


def size(text):
    rows, dim = map(int, text.split("x"))
    return rows, dim


def tell(**figure):
    print(json.dumps(report.rounded(figure), ensure_ascii=False), flush=True)


def stop(reason, status=EXIT_FAILED):
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(status)


def load():
    return contract.Backend(os.environ.get("INFONCE_CUDA_LIBRARY", str(compare.DEFAULT_LIBRARY)))


def versions(_options):
    tell(
        date=report.now(), commit=report.commit(), machine=platform.machine(), kernel=platform.release(),
        processors=os.cpu_count(), nvidiaSmi=report.nvidia_smi(), python=platform.python_version(),
        torch=package("torch"), triton=package("triton"), numpy=package("numpy"),
        nvcc=last_line("nvcc", "--version"), ncu=last_line("ncu", "--version"),
        computeSanitizer=last_line("compute-sanitizer", "--version"),
    )


def package(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def last_line(*words):
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=10).stdout.strip().split("\n")[-1]
    except (OSError, subprocess.TimeoutExpired):
        return None


def device(options):
    """On compute capability 9.0 a missing generation of kernels is a failure, whose reason is the library's note."""
    backend = load()
    if options.context:
        kernels = os.environ.pop("INFONCE_ISA", None)
        backend.context().close()
        if kernels:
            os.environ["INFONCE_ISA"] = kernels
    found = backend.devices()[0]
    tell(afterContext=options.context, name=found.name, capability=found.capability, code=found.code,
         instructionSets=found.instruction_sets, note=found.note, driver=report.version(found.driver_version),
         runtime=report.version(found.runtime_version), memory=found.memory, multiprocessors=found.multiprocessors,
         clockMHz=found.clock_khz / 1000, memoryBandwidth=found.memory_bandwidth,
         l2Bytes=cudart.Runtime().attribute(cudart.L2_CACHE_SIZE) if options.context else None)
    if found.capability == "9.0" and found.instruction_sets != ("sm90", "sm80"):
        stop(f"compute capability 9.0, and only {' '.join(found.instruction_sets)}: {found.note or 'no reason given'}")


def aims(_options):
    for shape, by_level in AIMS:
        for level in by_level:
            print(shape.loss, level, f"{shape.rows}x{shape.dim}")


class Calls:
    """Calls on sets of matrices in device memory, used in turn, with the scalars left on the device."""

    def __init__(self, runtime, shape, sets):
        self.runtime, self.shape = runtime, shape
        generator = random.Random(20_001)
        numbers = array("f", (generator.gauss(0, 1) for _ in range(min(BLOCK, shape.rows * shape.dim))))
        matrix = repeated(numbers, shape.rows * shape.dim)
        self.inputs = [[runtime.upload(matrix[k:] + matrix[:k]) for k in range(shape.towers)] for _ in range(sets)]
        self.gradients = [[runtime.allocate(shape.matrix_bytes) for _ in range(shape.towers)] for _ in range(sets)]
        self.scalars = runtime.allocate(contract.SCALARS_BYTES)
        self.calls = [
            presets.call(shape, SCALE, *pointers, device_scalars=self.scalars)
            for pointers in zip(self.inputs, self.gradients)
        ]

    def run(self, context, k=0):
        context.run(*self.calls[k % len(self.calls)])

    def check(self):
        """That the last call left numbers."""
        found = contract.scalars(self.runtime.download(self.scalars, bytearray(contract.SCALARS_BYTES)))
        if not all(map(math.isfinite, found.values())) or not found["loss"] > 0:
            stop(f"{self.shape}: {found}")

    def free(self):
        for pointers in (*self.inputs, *self.gradients, [self.scalars]):
            for pointer in pointers:
                self.runtime.free(pointer)


def repeated(numbers, count):
    return (numbers * -(-count // len(numbers)))[:count]


def once(options):
    runtime = cudart.Runtime()
    stream = runtime.stream()
    for rows, dim in options.sizes:
        with load().context(options.level, stream) as context:
            calls = Calls(runtime, Shape(options.loss, rows, dim), 1)
            calls.run(context)
            runtime.synchronize(stream)
            calls.check()
    tell(calls=len(options.sizes))


def time_calls(options):
    backend, runtime = load(), cudart.Runtime()
    info, stream = backend.devices()[0], runtime.stream()
    for rows, dim in options.sizes:
        shape = Shape(options.loss, rows, dim)
        sets = 2 if options.quick else shape.enough_sets(runtime.attribute(cudart.L2_CACHE_SIZE))
        calls = Calls(runtime, shape, sets)
        before = runtime.free_memory()
        with backend.context(options.level, stream, trace=not options.no_trace) as context:
            calls.run(context)
            runtime.synchronize(stream)
            # In the first size of a process with the code of the kernels, some megabytes.
            extra = before - runtime.free_memory()
            times = queued(runtime, stream, lambda k: calls.run(context, k), 0.0 if options.quick else 0.5)
        calls.check()
        figure = {
            "what": "infonce", "kernels": os.environ.get("INFONCE_ISA") or "chosen", "code": info.code,
            "runtime": report.version(info.runtime_version), "loss": shape.loss, "rows": rows, "dim": dim,
            "level": options.level, "trace": not options.no_trace, **report.summary(times),
            **report.rates(shape.loss, rows, dim, statistics.median(times), options.level), "extraBytes": extra,
        }
        tell(**figure, aim=judged(figure, dict(AIMS).get(shape, {}).get(options.level, {})))
        calls.free()


def queued(runtime, stream, call, seconds):
    """Milliseconds of calls queued back to back with an event between them, about `seconds` in all."""
    once = batch(runtime, stream, call, WARM_UPS if seconds else 1)
    wanted = int(seconds * 1000 / max(min(once), 1e-3))
    return batch(runtime, stream, call, min(max(wanted, FEWEST_SAMPLES), MOST_SAMPLES) if seconds else 2)


def batch(runtime, stream, call, count):
    with runtime.events(count + 1) as events:
        runtime.record(events[0], stream)
        for k in range(count):
            call(k)
            runtime.record(events[k + 1], stream)
        runtime.synchronize(stream)
        return [runtime.milliseconds(*pair) for pair in zip(events, events[1:])]


def flights(options):
    """Calls a second: the median of turns that alternate."""
    backend = load()
    generator = random.Random(1)
    numbers = array("f", (generator.gauss(0, 1) for _ in range(BLOCK)))
    for rows, dim in options.sizes:
        shape = Shape(options.loss, rows, dim)
        towers = [repeated(numbers, rows * dim) for _ in range(shape.towers)]
        calls = [host_calls.HostCall(backend, shape, SCALE, towers) for _ in range(3)]
        with backend.context(options.level, trace=not options.no_trace) as context:
            rates = host_calls.rates(context, calls, 0 if options.quick else 0.3)
        for call in calls:
            call.free()
        tell(what="flights", loss=shape.loss, rows=rows, dim=dim, level=options.level, **rates)


def with_torch():
    try:
        import torch
    except ImportError:
        stop("PyTorch is not installed", EXIT_SKIPPED)
    if not torch.cuda.is_available():
        stop("PyTorch sees no GPU", EXIT_SKIPPED)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return torch


def errors(options):
    torch = with_torch()
    import sections

    session = sections.Session(load(), SCALE, options.quick, math.inf)
    with torch.cuda.stream(torch.cuda.Stream()):
        for rows, dim in sections.error_sizes(options.quick):
            for loss in presets.LOSSES:
                for row in sections.errors_of(session, Shape(loss, rows, dim)):
                    tell(kernels=os.environ.get("INFONCE_ISA") or "chosen", **row)
    if session.failures:
        stop(f"{session.failures} errors are above their bounds, or a second call gave other bits")


def torch_calls(options):
    torch = with_torch()
    import losses
    import measure

    names = [name for name in losses.CONTESTANTS if name.startswith(options.form)]
    refused = []
    with torch.cuda.stream(torch.cuda.Stream()):
        for rows, dim in options.sizes:
            shape = Shape(options.loss, rows, dim)
            if rows > MATRIX_FITS:
                stop(f"{shape}: PyTorch cannot hold the matrix", EXIT_SKIPPED)
            sets = measure.Sets(shape)
            for name in names:
                losses.forget_compiled()
                try:
                    work = losses.CONTESTANTS[name][1](shape.loss)
                    call = lambda k: work(sets.inputs[k % sets.count], SCALE)
                    call(0)  # compiles
                    extra = measure.pytorch_extra_bytes(call, shape)
                    timing = measure.time_in_turn({name: call}, 0.1 if options.quick else 0.5)[name]
                except Exception as error:  # torch.compile has many: no Triton, no compiler, out of memory
                    refused.append(f"{name}, {shape}: {type(error).__name__}: {str(error).strip()[:200]}")
                    torch.cuda.empty_cache()
                    continue
                tell(what=f"PyTorch {name}", comparedWith=losses.CONTESTANTS[name][0], fasterAim=faster_aims(shape).get(name),
                     loss=shape.loss, rows=rows, dim=dim, **timing, **report.rates(shape.loss, rows, dim, timing["medianMs"]), extraBytes=extra)
    if refused:
        stop("; ".join(refused), EXIT_SKIPPED)


def ncu(options):
    """Profiles `once` of the same arguments; a line of figures for each kernel launched."""
    sizes = [f"{rows}x{dim}" for rows, dim in options.sizes]
    sections = [word for name in NCU_SECTIONS for word in ("--section", name)]
    words = ["ncu", "--target-processes", "all", "--csv", "--page", "details", "--print-units", "base", *sections,
             sys.executable, os.path.realpath(__file__), "once", options.loss, options.level, *sizes]
    begun = time.monotonic()
    try:
        found = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    except OSError as error:
        stop(f"ncu: {error}", EXIT_SKIPPED)
    lines = found.stdout.splitlines()
    start = next((k for k, line in enumerate(lines) if line.startswith('"ID"')), len(lines))
    kernels = {}
    for row in csv.DictReader(lines[start:]):
        kernel = kernels.setdefault(row["ID"], {"kernel": row.get("Kernel Name"), "grid": row.get("Grid Size"),
                                                "block": row.get("Block Size")})
        if row.get("Metric Name"):
            kernel[f"{row['Metric Name']} [{row.get('Metric Unit', '')}]"] = number(row["Metric Value"])
    for kernel in kernels.values():
        tell(what="ncu", loss=options.loss, level=options.level, sizes=sizes, **kernel)
    if found.returncode or not kernels:
        print("\n".join(line for line in lines if not line.startswith('"'))[-2000:], flush=True)
        stop(f"ncu ended with {found.returncode} and told of {len(kernels)} kernels after"
             f" {time.monotonic() - begun:.0f} s")


def number(text):
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return text


COMMANDS = {"versions": versions, "device": device, "aims": aims, "once": once, "time": time_calls,
            "flights": flights, "errors": errors, "torch": torch_calls, "ncu": ncu}

if __name__ == "__main__":
    main()
