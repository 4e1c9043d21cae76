"""Calls the library with device memory, a stream and device scalars, and compares with float64. Needs no PyTorch."""

import math
import random
from array import array

import contract
import cudart
import host_calls
import presets
import reference
from shapes import Shape

# Rows, columns: less than a tile, ragged, and past the dimensions that the register-resident kernels hold.
SIZES = ((8, 4), (66, 64), (130, 70), (34, 300))
BOUNDS = {"highest": 2e-5, "high": 2e-4, "medium": 2e-2}
SCALE = 10.0


def run(backend):
    """Prints a line a case. Returns the number of failures."""
    runtime = cudart.Runtime()
    stream = runtime.stream()
    failures = 0
    for precision, bound in BOUNDS.items():
        with backend.context(precision=precision, stream=stream) as context:
            for loss in presets.LOSSES:
                for shape in (Shape(loss, *size) for size in SIZES):
                    verdict = case(runtime, stream, context, shape)
                    right = verdict["error"] <= bound and verdict["repeats"]
                    failures += not right
                    print(
                        f"{'ok  ' if right else 'FAIL'} {loss} {shape.rows} x {shape.dim}, '{precision}':"
                        f" error {verdict['error']:.1e}, at most {bound:.0e}"
                        f"{'' if verdict['repeats'] else '; a second call gave other bits'}",
                        flush=True,
                    )
    failures += in_flight(backend)
    print(f"self-test: {failures} failures")
    return failures


def in_flight(backend):
    """Two calls in flight on page-locked arrays against one at a time. Returns the number of failures."""
    failures = 0
    generator = random.Random(1)
    with backend.context() as context:
        for loss in presets.LOSSES:
            calls = [
                host_calls.HostCall(backend, shape, SCALE, normal_towers(generator, shape))
                for shape in (Shape(loss, *size) for size in SIZES)
            ]
            found = []
            for flying in (1, 2):
                host_calls.run_in_flight(context, calls, len(calls), flying)
                found.append([[call.result.scalars.loss, *map(bytes, call.gradients)] for call in calls])
            for call in calls:
                call.free()
            right = found[0] == found[1]
            failures += not right
            verdict = "ok  " if right else "FAIL"
            print(f"{verdict} {loss}, two calls in flight give the bits of one at a time", flush=True)
    return failures


def case(runtime, stream, context, shape):
    towers = normal_towers(random.Random(shape.rows * 1000 + shape.dim), shape)
    rows = [to_rows(tower, shape.dim) for tower in towers]
    loss, grad_scale, expected = reference.loss_and_gradients(shape.loss, rows, SCALE, presets.LOGIT_BIAS)
    first, second = [call(runtime, stream, context, shape, towers) for _ in range(2)]
    scalars, *gradients = first
    errors = [abs(scalars["loss"] - loss) / abs(loss), abs(scalars["grad_scale"] - grad_scale) / abs(grad_scale)]
    errors += [relative_error(*pair) for pair in zip(gradients, expected)]
    # A maximum that keeps NaN.
    worst = math.nan if any(math.isnan(error) for error in errors) else max(errors)
    return {"error": worst, "repeats": first == second}


def call(runtime, stream, context, shape, towers):
    """[scalars, gradient of each tower], downloaded after one asynchronous call."""
    inputs = [runtime.upload(tower) for tower in towers]
    outputs = [runtime.allocate(shape.matrix_bytes) for _ in towers]
    scalars = runtime.allocate(contract.SCALARS_BYTES)
    try:
        context.run(*presets.call(shape, SCALE, inputs, outputs, device_scalars=scalars))
        runtime.synchronize(stream)
        return [
            contract.scalars(runtime.download(scalars, bytearray(contract.SCALARS_BYTES))),
            *[runtime.download(output, array("f", bytes(shape.matrix_bytes))) for output in outputs],
        ]
    finally:
        for pointer in (*inputs, *outputs, scalars):
            runtime.free(pointer)


def normal_towers(generator, shape):
    numbers = shape.rows * shape.dim
    return [array("f", (generator.gauss(0, 1) for _ in range(numbers))) for _ in range(shape.towers)]


def to_rows(values, dim):
    return [values[k : k + dim].tolist() for k in range(0, len(values), dim)]


def relative_error(actual, expected):
    """||actual - expected|| / ||expected||; `expected` by rows."""
    flat = [x for row in expected for x in row]
    difference = math.fsum((x - y) ** 2 for x, y in zip(actual, flat))
    return math.sqrt(difference / math.fsum(y * y for y in flat))
