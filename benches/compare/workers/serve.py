"""The Python side of the protocol: one JSON object a line, requests on stdin and answers on stdout.

{"cmd": "load", "model", "threads", "precision", "limit", "work"} -> what the engine says of itself
{"cmd": "texts", "texts", "batch_sizes"}                           -> vectors, and the batch size that was chosen
{"cmd": "run", "least_ms"}                                         -> {"wall_ms", "cpu_ms", "passes"}: means of passes over
                                                                      the texts, as many as take that long

An answer may be {"error": {"kind", "message", "install"}} in place of that.
"""
import base64
import json
import os
import sys
import time

# Libraries print to stdout now and then: only the protocol may reach the driver there.
_answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)


class Unavailable(Exception):
    """This engine cannot run here or cannot run this model; `install` says what would help, if anything."""

    def __init__(self, kind, message, install=None):
        super().__init__(message)
        self.kind, self.install = kind, install


def require(install, *modules):
    """Imports modules by name, or says how to install them."""
    import importlib

    try:
        return [importlib.import_module(name) for name in modules]
    except ImportError as error:
        raise Unavailable("not installed", str(error), install) from error


def timed(work):
    """Wall and CPU time of a call, in ms; the latter of all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return (time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3


class Session:
    def __init__(self, load):
        self.load, self.engine, self.texts, self.batch_size = load, None, [], 1

    def answer(self, request):
        command = request["cmd"]
        if command == "load":
            self.engine = self.load(request)
            return self.engine.info
        if command == "texts":
            self.texts = request["texts"]
            return self.choose(request["batch_sizes"], request.get("by", "cpu"))
        if command == "run":
            return self.run(request["least_ms"])
        raise ValueError(f"unknown command {command}")

    def run(self, least_ms):
        wall = cpu = passes = 0
        while wall < least_ms:
            times = timed(lambda: self.engine.encode(self.texts, self.batch_size))
            wall, cpu, passes = wall + times[0], cpu + times[1], passes + 1
        return {"wall_ms": wall / passes, "cpu_ms": cpu / passes, "passes": passes}

    def choose(self, sizes, by):
        """Tries each batch size once and keeps the one with the least CPU time, which other jobs disturb less than
        wall time; `by` may ask for the latter, where a device computes. The first pass of all is a warm-up."""
        vectors = self.engine.encode(self.texts, sizes[0])
        tried = {}
        if len(sizes) > 1:
            for size in sizes:
                tried[size] = timed(lambda: self.engine.encode(self.texts, size))[0 if by == "wall" else 1]
        self.batch_size = min(tried, key=tried.get) if tried else sizes[0]
        data = base64.b64encode(vectors.astype("<f4").tobytes()).decode()
        return {"vectors": data, "tokens": self.engine.count(self.texts), "batch_size": self.batch_size, "tried": tried}


def serve(load):
    """Answers until stdin ends."""
    session = Session(load)
    for line in sys.stdin:
        try:
            answer = session.answer(json.loads(line))
        except Unavailable as error:
            answer = {"error": {"kind": error.kind, "message": str(error), "install": error.install}}
        except Exception as error:  # noqa: BLE001: the driver shows it in the table
            answer = {"error": {"kind": "failed", "message": f"{type(error).__name__}: {error}"}}
        _answers.write(json.dumps(answer) + "\n")
        _answers.flush()
