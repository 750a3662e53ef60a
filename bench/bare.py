"""The limit: the same model with nothing around it, `python -m bench.bare` in a process of its own.

Reads each stored rendition from its file, then decodes, preprocesses, infers and postprocesses with
the mesh's own functions and the same ONNX Runtime settings, in a plain loop on one thread.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from models import registry
from services.nsfw import processing
from services.nsfw.types import Parameters


@dataclass(frozen=True)
class BareReport:
    """What one or more loops took for their files, in the order of the files of each."""

    seconds: float
    latencies_ms: list[float]
    cpu_seconds: float
    scores: list[float]


def run(paths: Sequence[Path], *, processes: int) -> BareReport:
    """Share the files among `processes` loops that run at the same time."""
    shares = [[str(path) for path in paths[index::processes]] for index in range(processes)]
    loops = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.bare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in shares
    ]
    for loop in loops:
        assert loop.stdout is not None
        loop.stdout.readline()  # warm: they start together
    for loop, share in zip(loops, shares, strict=True):
        assert loop.stdin is not None
        loop.stdin.write(json.dumps(share) + "\n")
        loop.stdin.flush()
    reports = [BareReport(**json.loads(loop.communicate()[0])) for loop in loops]
    return BareReport(
        seconds=max(report.seconds for report in reports),
        latencies_ms=[each for report in reports for each in report.latencies_ms],
        cpu_seconds=sum(report.cpu_seconds for report in reports),
        scores=[each for report in reports for each in report.scores],
    )


def _loop() -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        registry.path("nsfw"), options, providers=["CPUExecutionProvider"]
    )
    parameters = Parameters()
    names = [output.name for output in session.get_outputs()]
    side = parameters.crop_side
    blank = np.zeros((1, side, side, 3), np.float32)
    session.run(names, {processing.INPUT: blank})
    print("warm", flush=True)
    paths = json.loads(sys.stdin.readline())
    latencies_ms: list[float] = []
    scores: list[float] = []
    cpu_before, started = _cpu_seconds(), time.perf_counter()
    for path in paths:
        asked = time.perf_counter()
        tensors = processing.prepare(Path(path).read_bytes(), parameters)
        outputs = dict(zip(names, session.run(names, dict(tensors)), strict=True))
        scores.append(processing.postprocess(outputs).score)
        latencies_ms.append((time.perf_counter() - asked) * 1e3)
    seconds = time.perf_counter() - started
    report = BareReport(seconds, latencies_ms, _cpu_seconds() - cpu_before, scores)
    print(json.dumps(asdict(report)))


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    _loop()
