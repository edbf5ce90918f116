"""The cost of queries beyond the model's own: an ONNX audit, and an endpoint under load.

1. The share of its time that an ONNX audit spends inside the model: seconds inside
   `InferenceSession.run` over seconds of the whole `ask`, answers kept on disk.
2. Ten thousand queries to a model behind HTTP on this machine, 8 in flight: `ask`, with every
   query written to disk before it is sent and when it is answered, against a bare load
   generator (8 threads of `http.client` that send prepared bytes and discard the answers). The
   service takes `--milliseconds` for an answer and serves others meanwhile.

The network of the first part has random weights: three convolutions of 64, 128
and 256 channels on images of 32 pixels, 117 million multiply-adds, a fifth of a ResNet-18.

Both goals (90 % and 80 %) need an idle machine: server, client and load share its cores, and
the results contain the load at which they were measured. Two cores, idle: 94 % inside the model
with 600 photos (7,200 queries, 5 s), 88 % with 150, where 70 ms of start and end weigh more; 90
% of the bare load at 20 ms an answer. With answers that take no time it is 19 %: then only our
own work is measured (marking, two records on disk for each query, JSON). At a load of 12, and
with httpx in place of urllib3, it was 62 %.
"""

import argparse
import contextlib
import http.client
import itertools
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator

import numpy as np

from anw_jax.keys import SignatureSpace
from anw_jax.marks import HueRotation
from anw_jax.suspects import (
    AnswerCache,
    AnswerTemplate,
    Declaration,
    HttpOptions,
    HttpSuspect,
    OnnxSuspect,
    RequestTemplate,
    ask,
)
from benchmarks import _measure

SPACE, MARK = SignatureSpace(), HueRotation()
IN_FLIGHT = 8
_CHANNELS = (3, 64, 128, 256)


def write_onnx(path: pathlib.Path) -> None:
    """Write the network described above."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    nodes, weights, before = [], [], "images"
    for layer, (num_in, num_out) in enumerate(itertools.pairwise(_CHANNELS)):
        kernel = rng.normal(size=(num_out, num_in, 3, 3)) * np.sqrt(2 / (9 * num_in))
        weights.append(numpy_helper.from_array(kernel.astype(np.float32), f"w{layer}"))
        stride = [1, 1] if layer == 0 else [2, 2]
        inputs, name = [before, f"w{layer}"], f"c{layer}"
        nodes.append(
            helper.make_node("Conv", inputs, [name], pads=[1, 1, 1, 1], strides=stride)
        )
        before = f"r{layer}"
        nodes.append(helper.make_node("Relu", [name], [before]))
    dense = rng.normal(size=(_CHANNELS[-1], 10)).astype(np.float32)
    weights.append(numpy_helper.from_array(dense, "dense"))
    nodes.append(helper.make_node("GlobalAveragePool", [before], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("MatMul", ["flat", "dense"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 32, 32])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", 10])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())


class _Timed:
    """A session that adds up the seconds of its calls."""

    def __init__(self, session):
        self._session, self.seconds = session, 0.0

    def run(self, *arguments):
        start = time.perf_counter()
        try:
            return self._session.run(*arguments)
        finally:
            self.seconds += time.perf_counter() - start


def onnx_audit(num_images: int, rounds: int) -> dict:
    """Return the shares of time inside the model, one for each round."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 10, num_images)
    shares, seconds = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write_onnx(folder / "net.onnx")
        suspect = OnnxSuspect(folder / "net.onnx", Declaration(10, layout="NCHW"))
        session = suspect._session
        suspect.answers(images[:256].astype(np.float32) / 255)
        for number in range(rounds):
            suspect._session = timed = _Timed(session)
            with AnswerCache(folder / f"answers{number}", suspect.declaration) as cache:
                start = time.perf_counter()
                ask(suspect, images, labels, MARK, SPACE, cache=cache)
                seconds.append(time.perf_counter() - start)
            shares.append(timed.seconds / seconds[-1])
    share = 100 * float(np.median(shares))
    print(f"ONNX, {num_images} photos: {share:.1f} % of the time inside the model")
    return {
        "queries": num_images * SPACE.num_slots,
        "share_inside_the_model": shares,
        "seconds": seconds,
    }


@contextlib.contextmanager
def served(seconds: float) -> Iterator[int]:
    """Run the model of `_http_model` in another process; yield its port."""
    command = [sys.executable, "-m", "benchmarks._http_model", "--seconds", str(seconds)]
    process = subprocess.Popen(
        command, cwd=_measure.REPOSITORY, stdout=subprocess.PIPE, text=True
    )
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


def bare_load(port: int, bodies: list[bytes]) -> None:
    """Send prepared bytes over `IN_FLIGHT` open connections; discard the answers."""

    def work(part: list[bytes]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        for body in part:
            connection.request("POST", "/", body)
            connection.getresponse().read()
        connection.close()

    threads = [
        threading.Thread(target=work, args=(bodies[i::IN_FLIGHT],)) for i in range(IN_FLIGHT)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def http_audit(num_images: int, milliseconds: float, rounds: int) -> dict:
    """Time both sides in turns, against one server."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (num_images, 32, 32, 3), dtype=np.uint8)
    labels = rng.integers(0, 4, num_images)
    bodies = [rng.random(32 * 32 * 3, np.float32).tobytes()] * (num_images * SPACE.num_slots)
    numbers = iter(range(1000))
    with tempfile.TemporaryDirectory() as name, served(milliseconds / 1000) as port:
        suspect = HttpSuspect(
            f"http://127.0.0.1:{port}/",
            Declaration(4),
            request=RequestTemplate(body="float32"),
            answer=AnswerTemplate(pictures=None, scores="scores"),
            options=HttpOptions(in_flight=IN_FLIGHT),
        )

        def ours() -> None:
            path = pathlib.Path(name) / f"answers{next(numbers)}"
            with AnswerCache(path, suspect.declaration) as cache:
                ask(suspect, images, labels, MARK, SPACE, cache=cache, batch_size=1024)

        with suspect:
            sides = {"ours": ours, "bare": lambda: bare_load(port, bodies)}
            seconds = _measure.alternate(sides, rounds)
    speed = _measure.ratio(seconds, "ours", "bare")
    _measure.say(f"HTTP, {milliseconds:g} ms each, share of a bare load generator", speed)
    return {
        "queries": len(bodies),
        "in_flight": IN_FLIGHT,
        "milliseconds_of_an_answer": milliseconds,
        "share_of_bare_load": speed,
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--onnx-images", type=int, nargs="*", default=[150, 600])
    parser.add_argument("--http-images", type=int, default=834, help="12 queries for each")
    parser.add_argument("--milliseconds", type=float, nargs="*", default=[20.0, 0.0])
    parser.add_argument("--rounds", type=int, default=2)
    flags = parser.parse_args()
    results = {
        f"onnx, {number} photos": onnx_audit(number, flags.rounds)
        for number in flags.onnx_images
    }
    for milliseconds in flags.milliseconds:
        results[f"http, {milliseconds:g} ms"] = http_audit(
            flags.http_images, milliseconds, flags.rounds
        )
    _measure.write("suspects", results)


if __name__ == "__main__":
    main()
