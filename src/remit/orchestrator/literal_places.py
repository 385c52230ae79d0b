"""Files that a program mounts at a place of its own stand below the uploads, and as links where the program's prompt will
look for them: wherever nothing else stands there."""

from __future__ import annotations

from collections.abc import Mapping

from remit.errors import SandboxLost
from remit.interfaces import Sandbox
from remit.values import UPLOADS, ExecRequest, JsonObject

_WORKING_TREE = ("/workspace/", "/mnt/user/")
"""`/mnt/user` is its other name."""
_SECONDS = 10.0
# What stands there stays, but for a link of ours that leads nowhere any more. `UPLOADS` says where that folder really is.
_SCRIPT = """
while [ $# -gt 1 ]; do
  if [ -L "$1" ] && [ ! -e "$1" ]; then
    case "$(readlink "$1")" in */uploads/"$2") rm -f "$1" ;; esac
  fi
  [ -e "$1" ] || [ -L "$1" ] || { mkdir -p "$(dirname "$1")" && ln -s "${UPLOADS:-%s}/$2" "$1"; }
  shift 2
done
"""


def links_outside(resources: Mapping[str, JsonObject]) -> dict[str, str]:
    """Links for `SandboxSpec.links`: those outside of the working tree."""
    return {path: target for path, target in _links(resources).items() if not path.startswith(_WORKING_TREE)}


async def place_links(
    sandbox: Sandbox, resources: Mapping[str, JsonObject], *, call_id: str, epoch: int
) -> None:
    """Make those in the working tree of a sandbox that lives. One that cannot be made is left out; a sandbox that is lost
    over it is noticed by whoever uses it next."""
    words: list[str] = []
    for path, target in _links(resources).items():
        for top in _WORKING_TREE:
            if path.startswith(top):
                words += [f"./{path.removeprefix(top)}", target.removeprefix(f"{UPLOADS}/")]
    if not words:
        return
    request = ExecRequest(
        call_id=call_id,
        epoch=epoch,
        argv=("bash", "--norc", "--noprofile", "-c", _SCRIPT % UPLOADS, "links", *words),
        timeout_seconds=_SECONDS,
    )
    try:
        await sandbox.exec(request)
    except SandboxLost:
        return


def _links(resources: Mapping[str, JsonObject]) -> dict[str, str]:
    return {
        str(resource["literal_path"]): str(resource["mount_path"])
        for resource in resources.values()
        if resource.get("literal_path") is not None
    }
