"""A TorchScript file behind HTTP, on this machine only: `python server_torch.py script.pt`.

Prints its port. POST `{"tensor": base64 of float32, "shape": [b, 3, H, W]}` to

    /logits           all scores
    /probabilities/3  all probabilities, rounded to 3 digits
    /label            the first label alone

and get `{"predictions": [{"scores": [...]} or {"label": 7}, ...]}`. PyTorch, NumPy and the
standard library are all that it imports, as for `learner_torch`.
"""

import argparse
import base64
import http.server
import json
import pathlib
import threading

import numpy as np
import torch


def predictions(net: torch.nn.Module, path: str, body: bytes) -> list[dict]:
    """What stands at a path for the pictures in a request."""
    asked = json.loads(body)
    batch = np.frombuffer(base64.b64decode(asked["tensor"]), "<f4").reshape(asked["shape"])
    with torch.inference_mode():
        logits = net(torch.from_numpy(batch.copy()))
    if path == "/label":
        return [{"label": label} for label in logits.argmax(1).tolist()]
    if path == "/logits":
        return [{"scores": row} for row in logits.tolist()]
    _, name, decimals = path.split("/")
    if name != "probabilities":
        raise ValueError(f"nothing stands at {path}")
    shares = torch.softmax(logits.double(), 1).tolist()
    return [{"scores": [round(share, int(decimals)) for share in row]} for row in shares]


def handler_of(net: torch.nn.Module) -> type[http.server.BaseHTTPRequestHandler]:
    """A handler that answers with the network."""
    turn = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            with turn:
                found = predictions(net, self.path, body)
            answer = json.dumps({"predictions": found}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            """Says nothing: standard output is for the port."""

    return Handler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script", type=pathlib.Path)
    flags = parser.parse_args()
    torch.set_num_threads(1)
    net = torch.jit.load(str(flags.script)).eval()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(net))
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
