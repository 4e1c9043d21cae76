"""Calls the library with device memory, a stream and device scalars, and compares with float64. Needs no PyTorch."""

import math
import random
from array import array

import contract
import cudart
import host_calls
import reference

# Rows, columns: less than a tile, ragged, and past the dimensions that the register-resident kernels hold.
SHAPES = ((8, 4), (66, 64), (130, 70), (34, 300))
BOUNDS = {"highest": 2e-5, "high": 2e-4, "medium": 2e-2}
SCALE = 10.0
SCALARS = 4


def run(backend):
    """Prints a line a case. Returns the number of failures."""
    runtime = cudart.Runtime()
    stream = runtime.stream()
    failures = 0
    for precision, bound in BOUNDS.items():
        with backend.context(precision=precision, stream=stream) as context:
            for loss in contract.LOSSES:
                for rows, dim in SHAPES:
                    verdict = case(runtime, stream, context, loss, rows, dim)
                    right = verdict["error"] <= bound and verdict["repeats"]
                    failures += not right
                    print(
                        f"{'ok  ' if right else 'FAIL'} {loss} {rows} x {dim}, '{precision}':"
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
        for loss in contract.LOSSES:
            calls = [
                host_calls.HostCall(backend, loss, rows, dim, SCALE,
                                    [normal(generator, rows * dim) for _ in range(1 if loss == "ntXent" else 2)])
                for rows, dim in SHAPES
            ]
            found = []
            for flying in (1, 2):
                host_calls.run_in_flight(context, calls, len(calls), flying)
                found.append([[call.result.loss, *map(bytes, call.gradients)] for call in calls])
            for call in calls:
                call.free()
            right = found[0] == found[1]
            failures += not right
            verdict = "ok  " if right else "FAIL"
            print(f"{verdict} {loss}, two calls in flight give the bits of one at a time", flush=True)
    return failures


def case(runtime, stream, context, loss, rows, dim):
    generator = random.Random(rows * 1000 + dim)
    towers = [normal(generator, rows * dim) for _ in range(1 if loss == "ntXent" else 2)]
    expected = reference.loss_and_gradients(loss, *[to_rows(towers[k % len(towers)], dim) for k in range(2)], SCALE)
    first, second = [call(runtime, stream, context, loss, rows, dim, towers) for _ in range(2)]
    scalars, *gradients = first
    errors = [abs(scalars[0] - expected[0]) / abs(expected[0]), abs(scalars[1] - expected[1]) / abs(expected[1])]
    errors += [relative_error(*pair) for pair in zip(gradients, expected[2])]
    # A maximum that keeps NaN.
    worst = math.nan if any(math.isnan(error) for error in errors) else max(errors)
    return {"error": worst, "repeats": first == second}


def call(runtime, stream, context, loss, rows, dim, towers):
    """[scalars, gradient of each tower], downloaded after one asynchronous call."""
    inputs = [runtime.upload(tower) for tower in towers]
    outputs = [runtime.allocate(4 * rows * dim) for _ in towers]
    scalars = runtime.allocate(8 * SCALARS)
    try:
        problem = contract.describe(loss, rows, dim, SCALE, *inputs)
        result = contract.result_of(outputs, scalars)
        context.run(problem, result)
        runtime.synchronize(stream)
        return [
            runtime.download(scalars, array("d", bytes(8 * SCALARS))),
            *[runtime.download(output, array("f", bytes(4 * rows * dim))) for output in outputs],
        ]
    finally:
        for pointer in (*inputs, *outputs, scalars):
            runtime.free(pointer)


def normal(generator, count):
    return array("f", (generator.gauss(0, 1) for _ in range(count)))


def to_rows(values, dim):
    return [values[k : k + dim].tolist() for k in range(0, len(values), dim)]


def relative_error(actual, expected):
    """||actual - expected|| / ||expected||; `expected` by rows."""
    flat = [x for row in expected for x in row]
    difference = math.fsum((x - y) ** 2 for x, y in zip(actual, flat))
    return math.sqrt(difference / math.fsum(y * y for y in flat))
