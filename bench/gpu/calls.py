"""What calls on device memory ask of the CUDA runtime, as JSON: for calls.mjs, which puts call_counter.cc before it. Of how
many nodes the graph is into which a call is captured; None: it cannot be. And what calls ask whose scalars come to the host,
as from Node.js, plain and as a graph of the context's own.

    calls.py LIBRARY LOSS:ROWSxDIM:PRECISION ...
"""

import ctypes
import json
import random
import sys
from array import array

import contract
import cudart
import presets
from header import NUMBERS
from shapes import Shape

COUNTED = ("launches", "fills", "copies", "events", "waits")
SCALE = 10.0
CLASSES = 10
GLOBAL = 0  # cudaStreamCaptureModeGlobal


def sup_con(problem, ids):
    """Of a one-tower problem, the loss whose positives are the rows of equal id."""
    problem.matrices[0].views = 1
    problem.matrices[0].ids = ids.buffer_info()[0]
    problem.softmaxes[0].positive = NUMBERS["POSITIVE_SAME_ID"]


def take_counts():
    counts = (ctypes.c_long * len(COUNTED))()
    ctypes.CDLL(None).infonce_take_counts(counts)
    return dict(zip(COUNTED, counts))


def nodes_of_graph(runtime, stream, run):
    graph, nodes = ctypes.c_void_p(), ctypes.c_size_t()
    runtime.call("cudaStreamBeginCapture", ctypes.c_void_p(stream), GLOBAL)
    refused = False
    try:
        run()
    except contract.InfonceError:
        refused = True
    runtime.call("cudaStreamEndCapture", ctypes.c_void_p(stream), ctypes.byref(graph))
    runtime.call("cudaGraphGetNodes", graph, None, ctypes.byref(nodes))
    runtime.call("cudaGraphDestroy", graph)
    return None if refused else nodes.value


def count_from_node(backend, precision, problem, result):
    """In a stream of the context's own. Without a graph where it cannot be captured."""
    result.device_scalars = None
    with backend.context(precision=precision) as context:
        def counts_of(run):
            for _ in range(2):  # the first takes memory
                take_counts()
                run()
                counts = take_counts()
            return counts

        plain = counts_of(lambda: context.run(problem, result))
        try:
            graph = context.capture(problem, result)
        except contract.InfonceError:
            return {"plain": plain, "graph": None}
        repeated = counts_of(lambda: context.end(context.replay(graph, result)))
        context.destroy(graph)
    return {"plain": plain, "graph": repeated}


def count(runtime, backend, name):
    loss, size, precision = name.split(":")
    rows, dim = map(int, size.split("x"))
    shape = Shape("ntXent" if loss == "supCon" else loss, rows, dim)
    generator = random.Random(1)
    inputs = [runtime.upload(array("f", (generator.gauss(0, 1) for _ in range(rows * dim)))) for _ in range(shape.towers)]
    gradients = [runtime.allocate(shape.matrix_bytes) for _ in inputs]
    scalars = runtime.allocate(contract.SCALARS_BYTES)
    ids = array("i", (row % CLASSES for row in range(rows)))
    stream = runtime.stream()
    with backend.context(precision=precision, stream=stream) as context:
        problem, result = presets.call(shape, SCALE, inputs, gradients, device_scalars=scalars)
        if loss == "supCon":
            sup_con(problem, ids)
        for _ in range(2):  # the first takes memory
            runtime.synchronize(stream)
            take_counts()
            context.run(problem, result)
            found = take_counts()
        runtime.synchronize(stream)
        found["nodes"] = nodes_of_graph(runtime, stream, lambda: context.run(problem, result))
    found["fromNode"] = count_from_node(backend, precision, problem, result)
    for pointer in (*inputs, *gradients, scalars):
        runtime.free(pointer)
    return {"loss": loss, "rows": rows, "dim": dim, "precision": precision, **found}


def main(library, *problems):
    runtime, backend = cudart.Runtime(), contract.Backend(library)
    print(json.dumps([count(runtime, backend, problem) for problem in problems]))


main(*sys.argv[1:])
