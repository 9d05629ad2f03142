"""Several users of the running app at once, with the real model: are the answers theirs, and correct?

Each user has a session and a simulated micrograph of their own, no two of the same size, and sends 20 requests; all
start together. Before, every request is sent to the assistant itself, alone; the answers of the app must be the same,
word for word and pixel for pixel. An answer that belongs to another user or turn is counted as mixed up, any other
difference as wrong::

    python benchmarks/app_users.py            # starts the app itself
    python benchmarks/app_users.py --url http://127.0.0.1:7860
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ASKED = (
    "segment all particles",
    "how many are there?",
    "segment the three largest particles",
    "what is the mean diameter of the particles?",
    "segment the sintering necks",
    "only those in the left half",
    "segment the particles touching the border",
    "segment the pores",
    "what is the area fraction of the particles?",
    "segment the smallest particle",
)


def film(user: int) -> np.ndarray:
    """``(H, W)`` float32: the micrograph of a user; no two have the same size or the same particles."""
    from lisa_micro.sim import simulate_sintering

    scene = simulate_sintering(seed=900 + user, shape=(224 + 32 * user, 256), n_particles=5 + 3 * user)
    return scene.pixels.astype(np.float32)


def wanted(user: int, requests: int) -> list[str]:
    """Requests of a user, in order; users start at different requests, so that the queue mixes them."""
    return [ASKED[(user * 3 + k) % len(ASKED)] for k in range(requests)]


def fingerprint(labels: list[np.ndarray]) -> str:
    """Checksum of the label images of an answer."""
    digest = hashlib.sha256()
    for image in labels:
        array = np.ascontiguousarray(image, "<i4")
        digest.update(np.array(array.shape, "<i4").tobytes() + array.tobytes())
    return digest.hexdigest()


def expected(images: list[bytes], requests: int, preset: str) -> list[list[tuple[str, str]]]:
    """For each user and request the reply and the checksum of the labels, from the assistant alone."""
    from lisa_micro import load_assistant, read_micrograph

    assistant, found = load_assistant(preset), []
    for user, content in enumerate(images):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.tif"
            path.write_bytes(content)
            chat = assistant.chat(read_micrograph(path))
        answers = [chat.ask(words) for words in wanted(user, requests)]
        found.append([(answer.text, fingerprint([s.labels for s in answer.segments])) for answer in answers])
    return found


@dataclass(frozen=True)
class Running:
    """A running app: its address, without a slash at the end, and the number of its process."""

    url: str
    process: int


@contextmanager
def app(preset: str, temporary: Path | None = None) -> Iterator[Running]:
    """Run the app in a separate process.

    Args:
        preset: its model.
        temporary: folder for its temporary files; ``None``: that of the system.
    """
    command = [sys.executable, "-m", "lisa_micro_app", "--port", "0", "--preset", preset]
    environment = os.environ if temporary is None else {**os.environ, "TMPDIR": str(temporary)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        if "is at " not in line:
            raise SystemExit(f"The app did not start: {line}")
        yield Running(line.split("is at ")[1].split()[0].rstrip("/"), server.pid)
    finally:
        server.terminate()
        server.wait(60)


def play(url: str, user: int, content: bytes, requests: int, start: threading.Barrier) -> list[dict[str, Any]]:
    """Act as one user; returns the outcome of each request."""
    import httpx
    import tifffile
    from gradio_client import Client

    client = Client(url, verbose=False)
    session = client.predict(api_name="/open_session")
    query = {"kind": "image", "name": f"user {user}.tif"}
    image = httpx.post(url + session["upload"], params=query, content=content, timeout=60).json()["key"]
    results = []
    start.wait(300)
    for words in wanted(user, requests):
        began = time.perf_counter()
        try:
            answer = client.predict(session["session"], image, words, api_name="/segment")
            files = [httpx.get(url + s["labels"], timeout=60).content for s in answer["segments"]]
            labels = [tifffile.imread(io.BytesIO(file)) for file in files]
            said = {"reply": answer["reply"], "prompt": answer["prompt"], "labels": fingerprint(labels)}
        except Exception as error:  # errors of any kind are counted
            said = {"error": f"{type(error).__name__}: {error}"}
        results.append(said | {"words": words, "seconds": time.perf_counter() - began})
    client.predict(session["session"], api_name="/close_session")
    return results


def compare(played: list[list[dict[str, Any]]], truth: list[list[tuple[str, str]]]) -> dict[str, Any]:
    """Numbers of answers that are right, mixed up, wrong, and errors, with details of the faults."""
    counts, faults = {"right": 0, "mixed up": 0, "wrong": 0, "errors": 0}, []
    for user, results in enumerate(played):
        others = {pair for k, pairs in enumerate(truth) if k != user for pair in pairs} - set(truth[user])
        for k, (result, pair) in enumerate(zip(results, truth[user], strict=True)):
            said = (result.get("reply"), result.get("labels"))
            if "error" in result:
                kind = "errors"
            elif said == pair and result["prompt"] == result["words"]:
                kind = "right"
            elif said in others or said in truth[user] or result["prompt"] != result["words"]:
                kind = "mixed up"
            else:
                kind = "wrong"
            counts[kind] += 1
            if kind != "right":
                faults.append({"user": user, "request": k, "kind": kind, **result, "expected": pair[0]})
    return {**counts, "faults": faults}


def main() -> int:
    """Run the benchmark; the exit code is 0 if all answers are right."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--url", help="address of a running app; by default one is started")
    options.add_argument("--users", type=int, default=4)
    options.add_argument("--requests", type=int, default=20)
    options.add_argument("--preset", default="micro")
    options.add_argument("--out", type=Path, help="JSON file for the report")
    given = options.parse_args()
    import tifffile

    images = []
    for user in range(given.users):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, film(user), imagej=True, resolution=(5.0, 5.0), metadata={"unit": "nm"})
        images.append(buffer.getvalue())
    print("asking the assistant itself ...", flush=True)
    truth = expected(images, given.requests, given.preset)
    distinct = len({pair for pairs in truth for pair in pairs})
    print(f"{given.users} users, {given.requests} requests each, {distinct} different answers", flush=True)

    def together(url: str) -> tuple[list[list[dict[str, Any]]], float]:
        start, played = threading.Barrier(given.users + 1), [[] for _ in range(given.users)]

        def work(user: int) -> None:
            played[user] = play(url, user, images[user], given.requests, start)

        threads = [threading.Thread(target=work, args=(user,)) for user in range(given.users)]
        for thread in threads:
            thread.start()
        start.wait(300)
        began = time.perf_counter()
        for thread in threads:
            thread.join()
        return played, time.perf_counter() - began

    if given.url:
        played, seconds = together(given.url.rstrip("/"))
    else:
        with app(given.preset) as running:
            played, seconds = together(running.url)
    report = compare(played, truth)
    each = np.array([result["seconds"] for results in played for result in results])
    report |= {
        "users": given.users,
        "requests": int(len(each)),
        "seconds in all": round(seconds, 1),
        "median seconds": round(float(np.median(each)), 2),
        "longest seconds": round(float(each.max()), 2),
    }
    print(json.dumps(report, indent=1, ensure_ascii=False))
    if given.out is not None:
        given.out.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if report["right"] == len(each) == given.users * given.requests else 1


if __name__ == "__main__":
    sys.exit(main())
