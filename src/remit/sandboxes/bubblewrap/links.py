"""Links outside of the working tree: where a sandbox has nothing of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from remit.sandboxes.mounts import HOSTED_WORKSPACE, free_links

_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc", "proc", "dev", "sys", "run")
_OWN = ("/tmp/home", "/workspace", HOSTED_WORKSPACE, "/mnt/session", "/mnt/judge")


def link_arguments(links: Mapping[str, str], taken: Iterable[str]) -> list[str]:
    """Return the arguments by which bubblewrap makes the links; `taken` is what is mounted besides."""
    places = (*(f"/{name}" for name in _SYSTEM), *_OWN, *taken)
    return [
        word for path, target in free_links(links, places).items() for word in ("--symlink", target, path)
    ]
