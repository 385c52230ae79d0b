"""The provider `local`: installed models in a process of their own, beside a server of one's own."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec
import pytest

from remit.errors import ModelCallFailed, ModelUnavailable
from remit.gateway.routing import ModelRouter
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.local.catalogue import LocalModel
from remit.models.local.folder import ModelFolder
from remit.models.local.provider import LocalModels
from remit.models.local.runtime import LlamaCppRuntime
from remit.testing.model_server import ModelServer, ServedAnswer
from remit.toolsets.inputs import definitions
from remit.values import ModelRequest, ModelResponse
from support.waiting import eventually

pytestmark = pytest.mark.anyio

MODEL = LocalModel(
    name="tiny",
    title="Tiny",
    licence="Apache-2.0",
    size_bytes=4,
    sha256="",
    memory_bytes=1,
    context_tokens=2048,
    output_tokens_max=64,
    sources=(),
)
HELLO = ModelRequest(model="tiny", messages=({"role": "user", "content": "hello"},), max_tokens=1000)

# A stand-in for the runtime's package with its real shape: it serves on a port of its own, and answers with what it got.
RUNTIME = textwrap.dedent(
    """
    import http.server, json, os, threading


    class _Any:
        pass


    def CommonParams():
        params = _Any()
        params.model, params.cpuparams = _Any(), _Any()
        return params


    class Server:
        def __init__(self, params):
            print("llama.cpp writes where it likes")
            if open(params.model.path).read() == "bad!":
                raise RuntimeError("not a model")

            class Handler(http.server.BaseHTTPRequestHandler):
                def do_POST(self):
                    body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                    if self.headers["authorization"] != "Bearer " + params.api_keys[0]:
                        self.send_response(401)
                        self.end_headers()
                        return
                    seen = {"pid": os.getpid(), "max_tokens": body["max_tokens"], "temperature": body["temperature"],
                            "context": params.n_ctx, "environment": sorted(os.environ),
                            "is_action": "response_format" in body, "model": body["model"]}
                    chunk = {"id": "1", "model": "tiny", "choices": [
                        {"index": 0, "delta": {"content": json.dumps(seen)}, "finish_reason": "stop"}]}
                    self.send_response(200)
                    self.send_header("content-type", "text/event-stream")
                    self.end_headers()
                    self.wfile.write(("data: " + json.dumps(chunk) + "\\n\\ndata: [DONE]\\n\\n").encode())

                def log_message(self, *args):
                    pass

            served = http.server.ThreadingHTTPServer(("127.0.0.1", params.port), Handler)
            threading.Thread(target=served.serve_forever, daemon=True).start()
            self.listening_address = "http://127.0.0.1:%d" % served.server_address[1]
    """
)


@pytest.fixture
def runtime_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "packages"
    package.mkdir()
    (package / "xllamacpp.py").write_text(RUNTIME)
    monkeypatch.setenv("PYTHONPATH", str(package))
    monkeypatch.syspath_prepend(str(package))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models", catalogue=(MODEL,))


def put_weights(folder: ModelFolder, content: str = "good") -> None:
    folder.folder.mkdir(exist_ok=True)
    folder.path(MODEL).write_text(content)


@asynccontextmanager
async def local_models(
    folder: ModelFolder, server: OpenAIChatProvider | None = None
) -> AsyncIterator[LocalModels]:
    models = LocalModels(folder=folder, runtime=LlamaCppRuntime(), server=server)
    with anyio.fail_after(30):
        try:
            yield models
        finally:
            await models.close()


async def answer(models: LocalModels, request: ModelRequest = HELLO) -> dict[str, object]:
    """What the process says that it got."""
    *_, response = [item async for item in models.stream(request)]
    assert isinstance(response, ModelResponse)
    return msgspec.json.decode(str(response.content[0]["text"]))


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.usefixtures("runtime_package")
async def test_the_first_call_starts_a_process_and_later_ones_share_it(folder: ModelFolder) -> None:
    put_weights(folder)
    async with local_models(folder) as models:
        first = await answer(models)
        second = await answer(models)
        assert first["pid"] == second["pid"] != os.getpid()
        assert (first["max_tokens"], first["temperature"], first["context"]) == (64, 0.0, 2048)

    assert not is_alive(int(str(first["pid"])))


@pytest.mark.usefixtures("runtime_package")
async def test_no_vendors_key_goes_to_the_process(folder: ModelFolder) -> None:
    put_weights(folder)
    async with local_models(folder) as models:
        environment = (await answer(models))["environment"]
    assert isinstance(environment, list)
    assert not any("KEY" in str(name) for name in environment)


@pytest.mark.usefixtures("runtime_package")
async def test_a_small_model_is_held_to_one_action_when_there_are_tools(folder: ModelFolder) -> None:
    put_weights(folder)
    async with local_models(folder) as models:
        plain = await answer(models)
        tooled = await answer(
            models, msgspec.structs.replace(HELLO, tools=tuple(tool.definition for tool in definitions()))
        )
    assert (plain["is_action"], tooled["is_action"]) == (False, True)


@pytest.mark.usefixtures("runtime_package")
async def test_a_process_that_died_is_started_again(folder: ModelFolder) -> None:
    put_weights(folder)
    async with local_models(folder) as models:
        first = await answer(models)
        os.kill(int(str(first["pid"])), signal.SIGKILL)
        await eventually(lambda: not is_alive(int(str(first["pid"]))))
        second: dict[str, object] = {}
        while not second:
            try:
                second = await answer(models)
            except ModelCallFailed as failed:
                if not failed.is_retryable:  # its end was not heard of yet: the gateway tries again
                    raise
        assert second["pid"] != first["pid"]


@pytest.mark.usefixtures("runtime_package")
async def test_a_model_that_cannot_be_loaded_says_why_and_costs_nothing(folder: ModelFolder) -> None:
    put_weights(folder, "bad!")
    async with local_models(folder) as models:
        with pytest.raises(ModelCallFailed) as failed:
            await answer(models)
    assert "not a model" in failed.value.message
    assert failed.value.billed == "no"


@pytest.mark.usefixtures("runtime_package")
async def test_the_process_goes_when_its_server_is_killed(folder: ModelFolder, tmp_path: Path) -> None:
    put_weights(folder)
    program = tmp_path / "server.py"
    program.write_text(
        textwrap.dedent(
            f"""
            import asyncio, sys
            sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
            from pathlib import Path
            from test_local_model_provider import MODEL, answer
            from remit.models.local.folder import ModelFolder
            from remit.models.local.provider import LocalModels
            from remit.models.local.runtime import LlamaCppRuntime

            async def main():
                folder = ModelFolder(Path({str(folder.folder)!r}), catalogue=(MODEL,))
                models = LocalModels(folder=folder, runtime=LlamaCppRuntime(), server=None)
                print((await answer(models))["pid"], flush=True)
                await asyncio.Event().wait()

            asyncio.run(main())
            """
        )
    )
    with anyio.fail_after(30):
        process = await anyio.open_process([sys.executable, str(program)], stderr=None)
        assert process.stdout is not None
        pid = int((await process.stdout.receive()).decode())
        assert is_alive(pid)
        process.kill()
        await process.wait()
        await eventually(lambda: not is_alive(pid))
        await process.aclose()


async def test_a_name_of_the_users_own_server_still_goes_there(folder: ModelFolder) -> None:
    served = ModelServer([ServedAnswer(chunks=("{}",))], models=("my-model",))
    async with served.serving():
        server = OpenAIChatProvider(api_key=None, base_url=f"{served.url}/v1", name="local")
        async with local_models(folder, server) as models:
            router = ModelRouter({"local": models}, aliases={})
            assert [info.id for info in await router.models()] == ["local/my-model"]
            route = await router.resolve("local/my-model")
            await answer(
                models, ModelRequest(model=route.provider_model, messages=HELLO.messages, max_tokens=9)
            )
    assert served.requests[-1].body["model"] == "my-model"


@pytest.mark.usefixtures("runtime_package")
async def test_an_installed_model_is_listed_without_a_restart(folder: ModelFolder) -> None:
    async with local_models(folder) as models:
        assert await models.models() == []
        put_weights(folder)
        (info,) = await models.models()
    assert (info.id, info.context_tokens, info.max_output_tokens) == ("tiny", 2048, 64)


async def test_a_model_that_is_not_installed_is_refused_with_the_command_that_installs_it(
    folder: ModelFolder,
) -> None:
    async with local_models(folder) as models:
        with pytest.raises(ModelUnavailable, match="remit model install local/tiny"):
            await ModelRouter({"local": models}, aliases={}).resolve("local/tiny")
        with pytest.raises(ModelCallFailed, match="remit model install local/tiny"):
            await answer(models)


async def test_without_any_model_the_error_names_the_install_command() -> None:
    with pytest.raises(ModelUnavailable, match="remit model install local/"):
        await ModelRouter({}, aliases={}).default_model()


async def test_an_installed_model_without_its_runtime_is_refused_with_the_line_that_installs_it(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)  # as if it were not there
    put_weights(folder)
    async with local_models(folder) as models:
        assert await models.models() == []
        with pytest.raises(ModelUnavailable, match="remit model install NAME --with-runtime"):
            await ModelRouter({"local": models}, aliases={}).resolve("local/tiny")
        with pytest.raises(ModelCallFailed, match="remit model install NAME --with-runtime"):
            await answer(models)
