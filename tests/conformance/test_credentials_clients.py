"""Credentials with the clients people use, unmodified, in a real sandbox: in a network of our own, where names lead to
servers of ours and nothing leaves this machine."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from remit.egress.certificates import make_authority
from support import package_registry

API, OTHER = "93.184.216.34", "151.101.0.223"
SECRET, OTHER_SECRET = "s3cr3t/Token+value==", "another/Secret+1"
OUTSIDE = f"""
import http.server, json, ssl, sys, threading, urllib.parse
from pathlib import Path
folder = Path(sys.argv[1])

class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def __init__(self, *a): super().__init__(*a, directory=str(folder / "served"))
    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        if path == "/redirect":
            self.send_response(302)
            self.send_header("Location", "https://other.test/echo")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path == "/echo":
            self.said(json.dumps({{k.lower(): v for k, v in self.headers.items()}}))
        elif self.headers.get("Authorization") is None:
            self.said("who are you?", 401)
        else:
            super().do_GET()
    def do_POST(self):
        self.said(self.rfile.read(int(self.headers["Content-Length"])).decode())
    def said(self, text, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.send_header("X-Was-Given", str(self.headers.get("Authorization")))
        self.end_headers()
        self.wfile.write(text.encode())
    def log_message(self, *a): pass

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder / "server.pem")
for address in {[API, OTHER]!r}:
    for port in (80, 443):
        server = http.server.ThreadingHTTPServer((address, port), Handler)
        if port == 443:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
"""
INSIDE = """
import asyncio, json, os, sys
from pathlib import Path
import structlog
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.sandbox_checks.given import Hands
from remit.values import Credential, NetworkPolicy, SandboxSpec, Secret

async def main():
    folder, secret = Path(sys.argv[1]), sys.argv[2]
    commands = json.loads((folder / "commands.json").read_text())
    egress = ProxiedEgress(EgressSettings(), roots=(folder / "roots.pem").read_text())
    images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
    provider = BubblewrapProvider(
        folder / "run", DirectoryBlobStore(folder / "blobs"), Ids(SystemClock()), egress=egress, images_dir=images
    )
    credentials = (
        Credential(name="header", places=("api.test", "http://api.test"), secret=Secret(secret), username="robot"),
        Credential(
            name="variable", places=("api.test",), secret=Secret(sys.argv[3]), variable="API_TOKEN",
            placeholder="remit_placeholder_1",
        ),
    )
    said = {}
    async with provider:
        spec = SandboxSpec(
            key="k", epoch=1, network=NetworkPolicy(mode="unrestricted"), credentials=credentials,
            toolchains=tuple(sys.argv[4:]),
        )
        sandbox = await provider.create(spec)
        other = await provider.create(SandboxSpec(key="o", epoch=1, network=NetworkPolicy(mode="unrestricted")))
        for name in ("node.js", "Ask.java"):
            await sandbox.write_file(f"/workspace/{name}", (folder / name).read_bytes(), epoch=1)
        mine, others = Hands(sandbox), Hands(other)
        for name, command in commands.items():
            hands = others if name.startswith("other:") else mine
            said[name] = (await hands.shell(command)).output.decode()
        kept = b"".join([content async for _, content in sandbox.fetch("/workspace", [
            entry.path for entry in (await sandbox.tree("/workspace")).entries if entry.kind == "file"
        ])])
        said["kept"] = kept.decode("latin-1")
        await sandbox.destroy()
        await other.destroy()
    await egress.close()
    print(json.dumps(said))

asyncio.run(main())
"""
NODE = """
const [http, https, tls] = ['http', 'https', 'tls'].map(require);
const ask = http.request({host: '127.0.0.1', port: 3128, method: 'CONNECT', path: 'api.test:443'});
ask.on('connect', (answer, socket) => {
  https.get({host: 'api.test', port: 443, path: '/echo', headers: {host: 'api.test'}, createConnection: () => tls.connect({socket, servername: 'api.test'})},
    (answer) => answer.on('data', (data) => process.stdout.write(data)));
}).end();
"""
JAVA = """
public class Ask {
  public static void main(String[] arguments) throws Exception {
    System.out.print(new String(new java.net.URL("https://api.test/echo").openStream().readAllBytes()));
  }
}
"""
COMMANDS = {
    "curl": "curl -sS https://api.test/echo",
    "curl over http": "curl -sS http://api.test/echo",
    "curl with its own": "curl -sS -H 'Authorization: Bearer mine' https://api.test/echo",
    "curl follows": "curl -sS -L https://api.test/redirect",
    "curl headers": "curl -sS -i https://api.test/x | head -n 20",
    "curl placeholder": 'curl -sS -H "X-Key: $API_TOKEN" https://api.test/echo',
    "curl placeholder elsewhere": 'curl -sS -H "X-Key: $API_TOKEN" https://other.test/echo',
    "curl without variables": "env -i HTTPS_PROXY=$HTTPS_PROXY curl -sS https://api.test/echo",
    "git": "git clone -q https://api.test/repo.git cloned && cat cloned/hello.txt",
    "pip": "python3 -m pip install -q --no-deps --target p --index-url https://api.test/simple greeting && ls p",
    "urllib": "python3 -c \"import urllib.request as u; print(u.urlopen('https://api.test/echo').read().decode())\"",
    "requests": "python3 -c \"import requests as r; s = r.Session(); print([s.get('https://api.test/echo').text for _ in 'ab'])\"",
    "httpx": "python3 -c \"import httpx2 as h; print(h.get('https://api.test/echo').text)\"",
    "node": "node node.js",
    "java": "java Ask.java 2>/dev/null",
    "npm": "npm view --silent --registry https://api.test/ salute version",
    "post": "curl -sS -d 'key=value' https://api.test/x",
    "no environment": "cat /proc/*/environ | tr '\\\\0' '\\\\n'; env; cat /proc/*/cmdline | tr '\\\\0' ' '",
    "other: curl": "curl -sS https://api.test/echo",
    "other: trusts": "ls /etc/remit 2>&1; env | grep -c API_TOKEN",
}


@pytest.mark.long
@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network of its own with two machines")
def test_common_clients_carry_credentials_that_the_sandbox_never_sees(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    known = make_authority(["api.test", "other.test"])
    (tmp_path / "server.pem").write_text(known.server_pem)
    (tmp_path / "roots.pem").write_text(known.certificate)
    serve_packages(tmp_path / "served")
    serve_repository(tmp_path)
    (tmp_path / "hosts").write_text(f"{API} api.test\n{OTHER} other.test\n")
    (tmp_path / "commands.json").write_text(json.dumps(COMMANDS))
    (tmp_path / "outside.py").write_text(OUTSIDE)
    (tmp_path / "inside.py").write_text(INSIDE)
    (tmp_path / "node.js").write_text(NODE)
    (tmp_path / "Ask.java").write_text(JAVA)
    script = f"""
set -e
mount --bind {tmp_path}/hosts /etc/hosts
coproc OUTSIDE {{ exec unshare --net sh -c 'read -r go; exec {sys.executable} {tmp_path}/outside.py {tmp_path}'; }}
trap 'kill $OUTSIDE_PID' EXIT
while [ "$(readlink /proc/$OUTSIDE_PID/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set lo up
ip link add near type veth peer name far netns $OUTSIDE_PID
ip address add 93.184.216.1/24 dev near
ip link set near up
ip route add 151.101.0.0/16 dev near
outside="nsenter --net --target $OUTSIDE_PID"
for address in {API}/24 {OTHER}/16; do $outside ip address add $address dev far; done
$outside ip link set lo up
$outside ip link set far up
echo go >&"${{OUTSIDE[1]}}"
read -r -u "${{OUTSIDE[0]}}" ready
{sys.executable} {tmp_path}/inside.py {tmp_path} {SECRET} {OTHER_SECRET} {sys.prefix}
"""
    ran = subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", script], capture_output=True, timeout=110, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    lines = ran.stdout.decode().splitlines()
    said = json.loads(lines[-1])
    echoing = [
        "curl",
        "curl over http",
        "curl with its own",
        "curl without variables",
        "urllib",
        "httpx",
        "node",
    ]
    if shutil.which("javac") is not None:
        echoing.append("java")
    for name in echoing:
        assert json.loads(said[name])["authorization"].startswith("Basic cm9ib3Q6***"), (name, said[name])
    assert said["requests"].count("Basic cm9ib3Q6***") == 2
    assert "authorization" not in json.loads(said["curl follows"])
    assert json.loads(said["curl follows"])["host"] == "other.test"
    assert json.loads(said["curl placeholder"])["x-key"] == "*" * len(OTHER_SECRET)
    assert json.loads(said["curl placeholder elsewhere"])["x-key"] == "remit_placeholder_1"
    assert said["git"] == "hello from git\n"
    assert "greeting.py" in said["pip"]
    assert said["npm"] == "2.0.0\n"
    assert said["post"] == "key=value"
    assert "API_TOKEN=remit_placeholder_1" in said["no environment"]
    assert (
        "unable to get local issuer certificate" in said["other: curl"]
    )  # it is told the truth: no credential, no us
    assert "No such file" in said["other: trusts"]
    everything = (ran.stdout + ran.stderr).decode()  # the server's log too
    for secret in (SECRET, OTHER_SECRET, base64.b64encode(f"robot:{SECRET}".encode()).decode()):
        assert secret not in everything
    assert "credentials={'header': " in everything  # which, and how often: there to be read


def serve_packages(folder: Path) -> None:
    """As a registry serves them, for whoever says who he is."""
    registry = package_registry.Registry("https://api.test")
    for path, (kind, content) in registry.pages.items():
        is_folder = (
            path.endswith("/") or kind == "application/json"
        )  # npm asks for a document and for what lies below it
        file = folder / path.strip("/") / "index.html" if is_folder else folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def serve_repository(folder: Path) -> None:
    """As plain files, which is how git was first served."""
    work = folder / "work"
    work.mkdir()
    (work / "hello.txt").write_text("hello from git\n")
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    for command in (["init", "-q"], ["add", "."], [*identity, "commit", "-q", "-m", "first"]):
        subprocess.run(["git", *command], cwd=work, check=True)
    bare = folder / "served" / "repo.git"
    subprocess.run(["git", "clone", "-q", "--bare", str(work), str(bare)], check=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
