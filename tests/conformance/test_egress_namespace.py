"""The whole way out, with public addresses: in network namespaces of our own, where nothing leaves this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PUBLIC, PRIVATE, METADATA, OWN = "93.184.216.34", "10.9.9.9", "169.254.169.254", "93.184.216.1"
OUTSIDE = f"""
import http.server, threading
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/redirect" else 200)
        self.send_header("Location", "http://{METADATA}/latest")
        body = b"served by " + self.server.server_address[0].encode()
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
for address in {[PUBLIC, PRIVATE, METADATA]!r}:
    server = http.server.ThreadingHTTPServer((address, 80), Handler)
    threading.Thread(target=server.serve_forever).start()
print("ready", flush=True)
"""
INSIDE = """
import asyncio, json, sys
from pathlib import Path
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.sandbox_checks.given import Hands
from remit.values import NetworkPolicy, SandboxSpec

async def main():
    folder = Path(sys.argv[1])
    egress = ProxiedEgress(EgressSettings())
    provider = BubblewrapProvider(
        folder / "run", DirectoryBlobStore(folder / "blobs"), Ids(SystemClock()), egress=egress
    )
    said = {}
    async with provider:
        sandbox = await provider.create(
            SandboxSpec(key="k", epoch=1, network=NetworkPolicy(mode="unrestricted"))
        )
        hands = Hands(sandbox)
        for url in sys.argv[2:]:
            ran = await hands.exec("curl", "-sS", "-L", "--max-time", "8", url)
            said[url] = ran.output.decode()
        await sandbox.destroy()
    await egress.close()
    print(json.dumps(said))

asyncio.run(main())
"""


@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network of its own with two machines")
def test_public_addresses_are_reached_and_private_ones_behind_names_and_redirects_are_not(
    tmp_path: Path,
) -> None:
    tmp_path.chmod(0o755)
    hosts = tmp_path / "hosts"
    names = {"public.test": PUBLIC, "private.test": PRIVATE, "metadata.test": METADATA, "own.test": OWN}
    hosts.write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    urls = [f"http://{name}/" for name in names] + ["http://public.test/redirect"]
    (tmp_path / "outside.py").write_text(OUTSIDE)
    (tmp_path / "inside.py").write_text(INSIDE)
    script = f"""
set -e
mount --bind {hosts} /etc/hosts
coproc OUTSIDE {{ exec unshare --net sh -c 'read -r go; exec {sys.executable} {tmp_path}/outside.py'; }}
trap 'kill $OUTSIDE_PID' EXIT
while [ "$(readlink /proc/$OUTSIDE_PID/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link set lo up
ip link add near type veth peer name far netns $OUTSIDE_PID
ip address add {OWN}/24 dev near
ip link set near up
ip route add 10.9.9.0/24 dev near
ip route add 169.254.0.0/16 dev near
outside="nsenter --net --target $OUTSIDE_PID"
for address in {PUBLIC}/24 {PRIVATE}/24 {METADATA}/16; do $outside ip address add $address dev far; done
$outside ip link set lo up
$outside ip link set far up
echo go >&"${{OUTSIDE[1]}}"
read -r -u "${{OUTSIDE[0]}}" ready
{sys.executable} {tmp_path}/inside.py {tmp_path} {" ".join(urls)}
"""
    ran = subprocess.run(
        ["unshare", "--mount", "--net", "bash", "-c", script], capture_output=True, timeout=100, check=False
    )
    assert ran.returncode == 0, ran.stderr.decode()[-3000:]
    said = json.loads(ran.stdout.splitlines()[-1])  # before it: log lines
    assert said["http://public.test/"] == f"served by {PUBLIC}"
    for name in ("private.test", "metadata.test", "own.test"):
        assert said[f"http://{name}/"].startswith("Remit's egress proxy: "), said
    assert "this machine's own" in said["http://own.test/"]
    assert METADATA in said["http://public.test/redirect"]
    assert "egress_private_hosts" in said["http://public.test/redirect"]
