#!/usr/bin/env python3
"""Calls libinfonce_cuda.so on PyTorch's device memory and compares it with the same mathematics in PyTorch.

    python3 bench/gpu/compare.py               everything, beginning nothing new after --minutes
    python3 bench/gpu/compare.py --quick       small sizes, short measurements
    python3 bench/gpu/compare.py --self-test   against float64 in plain Python; needs no PyTorch
"""

import argparse
import os
import pathlib
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import contract
import report

DEFAULT_LIBRARY = report.ROOT / "build-cuda" / "Release" / "libinfonce_cuda.so"
SECTIONS = ("errors", "aims", "losses", "ladder", "flights")
EXIT_CANNOT_RUN = 3


def main():
    options = parse()
    try:
        backend = contract.Backend(options.library)
        device = backend.devices()[0]
    except contract.InfonceError as error:
        stop(f"{options.library} cannot compute here: {error}")
    print(f"# {device.name}, compute capability {device.capability}, {options.library}", flush=True)
    if options.self_test:
        import self_test

        try:
            sys.exit(1 if self_test.run(backend) else 0)
        except self_test.cudart.CudaError as error:
            stop(str(error))
    try:
        import torch
    except ImportError:
        stop("PyTorch is not installed, so there is nothing to compare with. Left to run: --self-test, and the timings "
             "of npm run bench -- --device cuda.")
    if not torch.cuda.is_available():
        stop("PyTorch sees no GPU (a build for the CPU, or no driver).")
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False

    import sections

    record = report.environment(device, torch)
    record["temperature"] = options.temperature
    session = sections.Session(backend, 1 / options.temperature, options.quick, time.monotonic() + 60 * options.minutes)
    with torch.cuda.stream(torch.cuda.Stream()):
        for name in options.only:
            print(f"\n## {sections.TITLES[name]}\n", flush=True)
            record[name] = sections.RUN[name](session)
    record["notRun"] = session.not_run
    for line in session.not_run:
        print(f"Not run: {line}")
    if options.json:
        report.write(options.json, record)
        print(f"\nWritten to {options.json}.")
    sys.exit(1 if session.failures else 0)


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default=os.environ.get("INFONCE_CUDA_LIBRARY", str(DEFAULT_LIBRARY)),
                        help="default: INFONCE_CUDA_LIBRARY, or build-cuda/Release/libinfonce_cuda.so")
    parser.add_argument("--only", action="append", choices=SECTIONS, help="may be repeated; default: all in this order")
    parser.add_argument("--quick", action="store_true", help="small sizes, short measurements, no torch.compile")
    parser.add_argument("--minutes", type=float, default=20, help="what has not begun by then is recorded as not run")
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--json", metavar="FILE", help="where to write the record")
    parser.add_argument("--self-test", action="store_true", help="compare with float64 in plain Python and stop")
    options = parser.parse_args()
    options.only = [name for name in SECTIONS if not options.only or name in options.only]
    return options


def stop(reason):
    print(f"compare.py: {reason}", file=sys.stderr)
    sys.exit(EXIT_CANNOT_RUN)


if __name__ == "__main__":
    main()
