"""The parts of the comparison: errors against float64, the performance targets, all losses, and a ladder of sizes."""

import contextlib
import functools
import math
import time
from dataclasses import dataclass, field

import contract
import host_calls
import losses
import measure
import presets
import report
import torch
from report import figure
from shapes import AIMS, MATRIX_FITS, Shape, faster_aims, judged

TITLES = {
    "errors": "Errors of loss and gradient against float64",
    "aims": "Performance targets",
    "losses": "InfoNCE, with as many hard negatives, CLIP, SigLIP",
    "ladder": "NT-Xent by size",
    "flights": "Calls on page-locked arrays of the host, one at a time and two in flight",
}
LEVELS = tuple(contract.PRECISION)
BOUNDS = {"highest": 2e-5, "high": 2e-4, "medium": 2e-2}
NOT_COMPILED = tuple(name for name in losses.CONTESTANTS if not name.startswith("compile"))
LADDER_CONTESTANTS = ("eager float32", "eager bf16 tensors", "compile bf16 tensors")
COMPILE_FROM_ROWS = 8192  # compiling takes longer than anything else here


@dataclass
class Session:
    backend: contract.Backend
    scale: float
    quick: bool
    deadline: float
    not_run: list = field(default_factory=list)
    failures: int = 0

    def context(self, precision):
        return self.backend.context(precision=precision, stream=torch.cuda.current_stream().cuda_stream)

    def out_of_time(self, what):
        if time.monotonic() < self.deadline:
            return False
        self.not_run.append(f"{what}: the time given by --minutes was over")
        return True


def error_sizes(quick):
    return [(1000, 100), (4096, 64), *([] if quick else [(8192, 128), (4096, 256), (4096, 768)])]


def errors(session):
    rows = []
    for loss in presets.LOSSES:
        for n, dim in error_sizes(session.quick):
            if session.out_of_time(f"errors of {loss} {n} x {dim}"):
                return rows
            rows += errors_of(session, Shape(loss, n, dim))
    columns = {
        "loss": lambda row: row["loss"],
        "N × D": lambda row: f"{row['rows']} × {row['dim']}",
        "what": lambda row: row["what"],
        "error of the loss": lambda row: f"{row['lossError']:.1e}",
        "of the gradients": lambda row: f"{row['gradientError']:.1e}",
        "at most": lambda row: f"{row['bound']:.0e}" if "bound" in row else None,
        "same bits twice": lambda row: {True: "yes", False: "NO"}.get(row.get("repeats")),
    }
    print(report.table(columns, rows), flush=True)
    return rows


def errors_of(session, shape):
    sets = measure.Sets(shape, count=1)
    towers, gradients = sets.inputs[0], sets.gradients[0]
    exact = [tower.detach().double().requires_grad_() for tower in towers]
    true_loss, true_gradients = losses.loss_and_gradients(losses.FUNCTIONS[shape.loss], exact, session.scale)
    facts = {"loss": shape.loss, "rows": shape.rows, "dim": shape.dim}

    def errors_against_exact(loss, found):
        return {
            "lossError": abs(loss - true_loss.item()) / abs(true_loss.item()),
            "gradientError": max(measure.relative_error(*pair) for pair in zip(found, true_gradients)),
        }

    rows = []
    for level in LEVELS:
        with session.context(level) as context:
            call = measure.Infonce(context, shape, sets, session.scale)
            runs = []
            for _ in range(2):
                for gradient in gradients:
                    gradient.fill_(math.nan)
                call(0)
                runs.append([call.scalars.clone(), *[gradient.clone() for gradient in gradients]])
        row = {
            **facts,
            "what": f"infonce '{level}'",
            **errors_against_exact(contract.scalars(bytes(runs[0][0].tolist()))["loss"], runs[0][1:]),
            "bound": BOUNDS[level],
            "repeats": all(torch.equal(*pair) for pair in zip(*runs)),
        }
        right = max(row["lossError"], row["gradientError"]) <= row["bound"] and row["repeats"]
        session.failures += not right
        rows.append(row)
    for name in NOT_COMPILED:
        loss, found = losses.CONTESTANTS[name][1](shape.loss)(towers, session.scale)
        rows.append({**facts, "what": f"PyTorch {name}", **errors_against_exact(loss.double().item(), found)})
    return rows


def aims(session):
    rows = []
    for shape, by_level in AIMS:
        if session.quick and shape.rows > 8192 or session.out_of_time(f"{shape}"):
            continue
        names = all_contestants(session, shape) if shape.rows <= MATRIX_FITS else []
        levels = LEVELS if shape.rows <= MATRIX_FITS else tuple(by_level)
        rows += compare(session, shape, levels, names, by_level)
    print_speeds(rows)
    return rows


def all_contestants(session, shape):
    return NOT_COMPILED if session.quick or shape.rows < COMPILE_FROM_ROWS else tuple(losses.CONTESTANTS)


def ladder(session):
    rows = []
    for n in (1024, 4096) if session.quick else (1024, 4096, 8192, 16384, 32768):
        for dim in (64, 128) if session.quick else (64, 128, 256, 768, 1024):
            if session.out_of_time(f"ladder {n} x {dim}"):
                continue
            shape = Shape("ntXent", n, dim)
            names = [name for name in all_contestants(session, shape) if name in LADDER_CONTESTANTS]
            rows += compare(session, shape, LEVELS, names)
    print_speeds(rows)
    return rows


def of_losses(session):
    rows = []
    for loss in ("infoNCE", "hardNegatives", "clip", "sigLip"):
        for n, dim in ((4096, 128),) if session.quick else ((8192, 128), (8192, 512), (32768, 512)):
            shape = Shape(loss, n, dim)
            if not session.out_of_time(f"{shape}"):
                rows += compare(session, shape, LEVELS, all_contestants(session, shape))
    print_speeds(rows)
    return rows


def flights(session):
    """Throughput of successive calls whose copies may overlap with the kernels of their neighbours."""
    rows = []
    shapes = ((512, 128), (4096, 128)) if session.quick else ((512, 128), (2048, 128), (8192, 128), (16384, 256))
    for n, dim in shapes:
        for level in LEVELS:
            shape = Shape("ntXent", n, dim)
            if session.out_of_time(f"{shape} '{level}', two in flight"):
                continue
            facts = {"loss": shape.loss, "rows": n, "dim": dim, "level": level}
            rows.append({**facts, **flights_of(session, shape, level)})
    columns = {
        "loss": lambda row: row["loss"],
        "N × D": lambda row: f"{row['rows']} × {row['dim']}",
        "level": lambda row: row["level"],
        "calls a second": lambda row: figure(row["oneAtATime"], 4),
        "two in flight": lambda row: figure(row["twoInFlight"], 4),
        "gain": lambda row: f"{figure(row['gain'])}×",
    }
    print(report.table(columns, rows), flush=True)
    return rows


def flights_of(session, shape, level):
    calls = [
        host_calls.HostCall(session.backend, shape, session.scale, [torch.randn(shape.rows * shape.dim).tolist()])
        for _ in range(3)
    ]
    try:
        with session.backend.context(precision=level) as context:
            return host_calls.rates(context, calls, 0.1 if session.quick else 0.5)
    finally:
        for call in calls:
            call.free()


def compare(session, shape, levels, names, aims_by_level=None):
    """Rows of infonce at every level and of PyTorch's variants, timed in turn."""
    seconds = 0.3 if session.quick else 1.0
    sets = measure.Sets(shape)
    facts = {"loss": shape.loss, "rows": shape.rows, "dim": shape.dim}
    rows, contestants, extra = {}, {}, {}
    losses.forget_compiled()

    def make_call(context):
        return measure.Infonce(context, shape, sets, session.scale)

    with contextlib.ExitStack() as contexts:
        for level in levels:
            name = f"infonce '{level}'"
            extra[name] = measure.infonce_extra_bytes(functools.partial(session.context, level), make_call)
            contestants[name] = make_call(contexts.enter_context(session.context(level)))
        for contestant in names:
            call = pytorch_call(session, shape, sets, contestant, extra)
            if call:
                contestants[f"PyTorch {contestant}"] = call
        timings = measure.time_in_turn(contestants, seconds)
    torch.cuda.empty_cache()
    for name, timing in timings.items():
        level = name.split("'")[1] if name.startswith("infonce") else None
        rates = report.rates(shape.loss, shape.rows, shape.dim, timing["medianMs"], level)
        rows[name] = {**facts, "what": name, **timing, **rates, "extraBytes": extra[name]}
        if level is None:
            ours = f"infonce '{losses.CONTESTANTS[name.removeprefix('PyTorch ')][0]}'"
            rows[name]["infonceFasterBy"] = timing["medianMs"] / timings[ours]["medianMs"]
    judge(rows, shape, aims_by_level or {})
    return list(rows.values())


def pytorch_call(session, shape, sets, contestant, extra):
    """A function of the set's number; None, with the reason kept, where PyTorch cannot do it."""
    try:
        work = losses.CONTESTANTS[contestant][1](shape.loss)

        def call(k):
            return work(sets.inputs[k % sets.count], session.scale)

        call(0)  # compiles
        extra[f"PyTorch {contestant}"] = measure.pytorch_extra_bytes(call, shape)
        return call
    except Exception as error:  # torch.compile has many: no Triton, no compiler, out of memory
        reason = str(error).strip().split("\n", 1)[0][:200]
        session.not_run.append(f"PyTorch {contestant}, {shape}: {type(error).__name__}: {reason}")
        torch.cuda.empty_cache()
        return None


def judge(rows, shape, aims_by_level):
    """Adds to each row what was aimed at and whether it was reached."""
    for level, aim in aims_by_level.items():
        row = rows[f"infonce '{level}'"]
        row["aim"] = judged(row, aim)
    for contestant, factor in faster_aims(shape).items():
        row = rows.get(f"PyTorch {contestant}")
        if row:
            row["aim"] = {"infonceFasterBy": {"aim": factor, "reached": row["infonceFasterBy"] >= factor}}


AIM_TEXT = {
    "medianMs": lambda aim: f"≤ {aim} ms",
    "teraflopsPlain": lambda aim: f"≥ {aim} TFLOP/s",
    "extraBytes": lambda aim: f"< {aim / 1e6:.0f} MB",
    "infonceFasterBy": lambda aim: f"≥ {aim}×",
}


def print_speeds(rows):
    def aim(row):
        parts = row.get("aim", {}).items()
        return ", ".join(f"{AIM_TEXT[key](it['aim'])}: {'yes' if it['reached'] else 'NO'}" for key, it in parts)

    columns = {
        "loss": lambda row: row["loss"],
        "N × D": lambda row: f"{row['rows']} × {row['dim']}",
        "what": lambda row: row["what"],
        "median ms": lambda row: figure(row["medianMs"], 4),
        "± MAD": lambda row: figure(row["madMs"], 2),
        "TFLOP/s, plain": lambda row: figure(row["teraflopsPlain"]),
        "done": lambda row: figure(row.get("teraflopsDone")),
        "infonce faster by": lambda row: f"{figure(row['infonceFasterBy'])}×" if "infonceFasterBy" in row else None,
        "extra MB": lambda row: figure(row["extraBytes"] / 1e6),
        "aim": aim,
    }
    print(report.table(columns, rows), flush=True)


RUN = {"errors": errors, "aims": aims, "losses": of_losses, "ladder": ladder, "flights": flights}
