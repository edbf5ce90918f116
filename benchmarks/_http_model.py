"""A small model behind HTTP, in its own process: `python -m benchmarks._http_model`.

Prints its port. POST takes float32 bytes of one image and answers {"scores": [4 numbers]};
GET answers how often each image was queried. `--seconds` is the time of an answer, during
which others are served: the network and the work of a real service.
"""

import argparse
import asyncio
import collections
import hashlib
import json

import numpy as np

_WEIGHTS = np.random.default_rng(0).normal(size=(3, 4)) * 9
_ASKED: collections.Counter[str] = collections.Counter()


def scores(body: bytes) -> list[float]:
    """Return the logits of one image: its mean colour through a dense layer."""
    colour = np.frombuffer(body, "<f4").reshape(-1, 3).mean(axis=0)
    return (colour @ _WEIGHTS).tolist()


async def _request(reader: asyncio.StreamReader) -> tuple[bytes, bytes] | None:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    sizes = [line.split(b":")[1] for line in lines if line.startswith(b"content-length:")]
    return head[:4], await reader.readexactly(int(sizes[0])) if sizes else b""


async def _serve(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float
) -> None:
    try:
        while True:
            method, body = await _request(reader)
            if method == b"POST":
                _ASKED[hashlib.sha256(body).hexdigest()] += 1
                if seconds:
                    await asyncio.sleep(seconds)
                answer = json.dumps({"scores": scores(body)}).encode()
            else:
                answer = json.dumps(_ASKED).encode()
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(answer)}\r\n\r\n"
            writer.write(head.encode() + answer)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def _run(seconds: float) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: _serve(reader, writer, seconds), "127.0.0.1", 0
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.0)
    asyncio.run(_run(parser.parse_args().seconds))


if __name__ == "__main__":
    main()
