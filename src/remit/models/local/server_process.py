"""The process that holds a local model: llama.cpp's own server, on a loopback port it chooses itself.

Run as a program, by its path, so that it loads nothing of Remit. The first line on its input is one JSON object: what
to load. It answers one line, `{"url": …}`, when the model is loaded. When its input ends, whoever started it has gone,
and it goes too.
"""

from __future__ import annotations

import json
import os
import sys
import threading


def main() -> None:
    """Serve until the input ends."""
    order = json.loads(sys.stdin.buffer.readline())
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # llama.cpp writes where it likes; the answers' pipe is not for that
    threading.Thread(target=_leave_with_the_starter, daemon=True).start()

    import xllamacpp  # pyright: ignore[reportMissingImports] - an optional extra

    # Any for the rest: the library has no types.
    params = xllamacpp.CommonParams()  # pyright: ignore
    params.model.path = order["path"]  # pyright: ignore
    params.model_alias = {order["name"]}  # pyright: ignore
    params.n_ctx = order["context_tokens"]  # pyright: ignore
    params.cpuparams.n_threads = order["threads"]  # pyright: ignore
    params.n_parallel = 1  # pyright: ignore
    params.cache_ram_mib = 0  # pyright: ignore - its prompt cache would take up to 8 GiB
    params.hostnames = ["127.0.0.1"]  # pyright: ignore
    params.port = 0  # pyright: ignore
    params.api_keys = [order["key"]]  # pyright: ignore - loopback is open to every user of the machine
    params.cors_origins = ""  # pyright: ignore
    params.ui = False  # pyright: ignore
    params.endpoint_slots = False  # pyright: ignore
    params.offline = True  # pyright: ignore
    params.use_jinja = True  # pyright: ignore
    params.verbosity = 1  # pyright: ignore
    server = xllamacpp.Server(params)  # pyright: ignore
    answers.write(json.dumps({"url": str(server.listening_address)}) + "\n")  # pyright: ignore
    answers.flush()
    threading.Event().wait()


def _leave_with_the_starter() -> None:
    while sys.stdin.buffer.read(1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
