"""What was run where, as a table and as a record."""

import datetime
import json
import os
import pathlib
import statistics
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]

# Of the plain algorithm and, for one bfloat16 product, what the engine does, in units of N^2 D FLOP. The sigmoid loss is
# computed in float64, without such products.
PLAIN_FLOPS = {"ntXent": 6, "infoNCE": 6, "hardNegatives": 12, "clip": 6, "sigLip": 6}
DONE_FLOPS = {"ntXent": 5, "infoNCE": 10, "hardNegatives": 20, "clip": 10}
PRODUCTS = {"highest": 6, "high": 3, "medium": 1}


def rates(loss, rows, dim, milliseconds, precision=None):
    """TFLOP/s counted as the plain algorithm's, and those that infonce really did at a level."""
    unit = rows * rows * dim / milliseconds / 1e9
    found = {"teraflopsPlain": PLAIN_FLOPS[loss] * unit}
    if precision and loss in DONE_FLOPS:
        found["teraflopsDone"] = DONE_FLOPS[loss] * PRODUCTS[precision] * unit
    return found


def summary(times):
    median = statistics.median(times)
    return {
        "medianMs": median,
        "madMs": statistics.median(abs(t - median) for t in times),
        "minMs": min(times),
        "samples": len(times),
    }


def commit():
    """INFONCE_COMMIT says it where there is no repository."""
    named = os.environ.get("INFONCE_COMMIT")
    if named:
        return named
    try:
        head = git("rev-parse", "--short=12", "HEAD")
        return head + (", with changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def git(*words):
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def environment(device, torch):
    return {
        "date": now(),
        "commit": commit(),
        "device": {
            "name": device.name,
            "capability": device.capability,
            "memory": device.memory,
            "kernels": os.environ.get("INFONCE_ISA", device.instruction_set),
            **nvidia_smi(),
        },
        "cuda": {"driver": version(device.driver_version), "runtime": version(device.runtime_version)},
        "torch": torch and {"version": torch.__version__, "cuda": torch.version.cuda},
    }


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def nvidia_smi():
    fields = {"driver_version": "driver", "clocks.max.sm": "clockMaxSm", "clocks.max.memory": "clockMaxMemory",
              "power.limit": "powerLimit"}
    words = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "--id=0"]
    try:
        line = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return {}
    return dict(zip(fields.values(), (word.strip() for word in line.split(","))))


def version(number):
    return f"{number // 1000}.{number % 1000 // 10}"


def table(columns, rows):
    """Markdown. `columns` is heading -> row -> text; a missing figure is shown as –."""
    lines = [list(columns), *[[cell(row) or "–" for cell in columns.values()] for row in rows]]
    widths = [max(len(line[k]) for line in lines) for k in range(len(columns))]
    ruler = [("-" * width if k == 0 else "-" * (width - 1) + ":") for k, width in enumerate(widths)]
    text = []
    for line in (lines[0], ruler, *lines[1:]):
        text.append("| " + " | ".join(word.ljust(widths[0]) if k == 0 else word.rjust(widths[k])
                                      for k, word in enumerate(line)) + " |")
    return "\n".join(text)


def figure(value, digits=3):
    if value is None:
        return None
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def write(path, record):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rounded(record), indent=2, ensure_ascii=False) + "\n")


def rounded(value):
    """Six significant digits are more than any timing has."""
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value else None
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value
