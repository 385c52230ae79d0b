"""Files that a session has: copies mounted read-only below /mnt/session/uploads. Rules of paths; copying and undoing."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from remit.catalog.files import Files
from remit.clock import Clock, rfc3339
from remit.errors import InvalidRequest, NotFound
from remit.ids import Ids
from remit.schema.resources import (
    FILES_MAX,
    FileResourceParams,
    MemoryStoreResourceParams,
    RepositoryResourceParams,
    ResourceParams,
)
from remit.schema.wire import not_supported
from remit.values import UPLOADS, JsonObject, Principal, Tree, TreeEntry

NAME_BYTES_MAX = 255
_FILE_MODE = 0o444
_OWN = frozenset({"sha256", "size_bytes", "literal_path"})
"""What the log keeps of a file besides what the API shows."""


class SessionResources(NamedTuple):
    """A session's resources, by kind; each under the beginning of its fields' names, as `resources[0].`."""

    files: Mapping[str, FileResourceParams]
    stores: Mapping[str, MemoryStoreResourceParams]


def sort_resources(params: Sequence[ResourceParams]) -> SessionResources:
    """Return what a session is created with, by kind. Raises InvalidRequest for a kind that there is not."""
    files, stores = dict[str, FileResourceParams](), dict[str, MemoryStoreResourceParams]()
    for index, resource in enumerate(params):
        place = f"resources[{index}]."
        match resource:
            case FileResourceParams():
                files[place] = resource
            case MemoryStoreResourceParams():
                stores[place] = resource
            case RepositoryResourceParams():
                raise _no_repositories(place)
    return SessionResources(files, stores)


def added_file(params: ResourceParams) -> Mapping[str, FileResourceParams]:
    """Return what is added to a session that is there. Raises InvalidRequest for anything but a file."""
    match params:
        case FileResourceParams():
            return {"": params}
        case MemoryStoreResourceParams():
            raise InvalidRequest(
                "`type`: a memory_store is attached when the session is created; create a new one."
            )
        case RepositoryResourceParams():
            raise _no_repositories("")


def _no_repositories(place: str) -> InvalidRequest:
    return not_supported(
        f"{place}type", "github_repository resources are", "Upload the files it needs instead."
    )


async def copy_files(
    files: Files,
    principal: Principal,
    params: Mapping[str, FileResourceParams],
    *,
    session_id: str,
    present: Mapping[str, JsonObject],
    ids: Ids,
    clock: Clock,
) -> list[JsonObject]:
    """Copies of the files, as the log keeps them; `present` are those the session has already.

    All or nothing: raises InvalidRequest naming the field, and then no copy is left."""
    paths = _paths(params, present)
    made: list[JsonObject] = []
    try:
        for place, resource in params.items():
            try:
                copy = await files.copy(principal, resource.file_id, session_id=session_id)
            except NotFound as error:
                raise _no_file(error, place) from error
            now = rfc3339(clock.now_us())
            made.append(
                {
                    "id": ids.new("sesrsc"),
                    "type": "file",
                    "file_id": copy.id,
                    "mount_path": paths[place],
                    "literal_path": literal_path(resource.mount_path),
                    "created_at": now,
                    "updated_at": now,
                    "sha256": copy.config.sha256,
                    "size_bytes": copy.config.size_bytes,
                }
            )
    except BaseException:
        await files.delete_all(principal, [str(resource["file_id"]) for resource in made])
        raise
    return made


async def check_files(files: Files, principal: Principal, params: Mapping[str, FileResourceParams]) -> None:
    """Raise InvalidRequest for what a new session could not have."""
    _paths(params, {})
    for place, resource in params.items():
        try:
            await files.usable(principal, resource.file_id)
        except NotFound as error:
            raise _no_file(error, place) from error


def _paths(params: Mapping[str, FileResourceParams], present: Mapping[str, JsonObject]) -> Mapping[str, str]:
    """Where each is mounted."""
    paths = {
        place: mount_path(resource.mount_path, resource.file_id, field=f"{place}mount_path")
        for place, resource in params.items()
    }
    check_paths(paths, present)
    return paths


def _no_file(error: NotFound, place: str) -> InvalidRequest:
    return InvalidRequest(f"`{place}file_id`: {error.message}", code=error.code or "file_not_found")


def resource_to_wire(resource: JsonObject) -> JsonObject:
    """The resource object of the API."""
    return {name: value for name, value in resource.items() if name not in _OWN}


def uploads_tree(resources: Mapping[str, JsonObject]) -> Tree | None:
    """Make the tree that is mounted at UPLOADS; None without files."""
    entries = [
        TreeEntry(
            path=str(resource["mount_path"]).removeprefix(UPLOADS + "/"),
            kind="file",
            mode=_FILE_MODE,
            size=cast("int", resource["size_bytes"]),
            sha256=str(resource["sha256"]),
        )
        for resource in resources.values()
    ]
    return Tree(entries=tuple(sorted(entries, key=lambda entry: entry.path))) if entries else None


def mount_path(given: str | None, file_id: str, *, field: str) -> str:
    """Rooted below UPLOADS, without doubling it. Raises InvalidRequest."""
    if given is None:
        return f"{UPLOADS}/{file_id}"
    path = given if given.startswith("/") else f"/{given}"
    inside = path.removeprefix(UPLOADS) if path == UPLOADS or path.startswith(UPLOADS + "/") else path
    if any(part in ("", ".", "..") for part in inside[1:].split("/")):
        raise InvalidRequest(
            f"`{field}`: {given!r} is no path of a file below {UPLOADS}; leave out empty parts, `.` and `..`."
        )
    if any(len(part.encode("utf-8", "surrogatepass")) > NAME_BYTES_MAX for part in inside.split("/")):
        raise InvalidRequest(
            f"`{field}`: has a name of more than {NAME_BYTES_MAX} bytes, which no file system holds; shorten it."
        )
    if any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in inside):
        raise InvalidRequest(f"`{field}`: holds characters that cannot be seen; remove them.")
    return UPLOADS + inside


def literal_path(given: str | None) -> str | None:
    """The place outside of the uploads that the caller named, where the file gets a link; None: there is none."""
    if given is None or not given.startswith("/") or f"{given}/".startswith("/mnt/session/"):
        return None
    return given


def check_paths(paths: Mapping[str, str], present: Mapping[str, JsonObject]) -> None:
    """Raise InvalidRequest unless each of these can be mounted beside what is there."""
    if len(paths) + len(present) > FILES_MAX:
        raise InvalidRequest(f"`resources`: a session has at most {FILES_MAX} files; add fewer.")
    taken = {str(resource["mount_path"]) for resource in present.values()}
    folders = {folder for path in taken for folder in _folders(path)}
    for place, path in paths.items():
        if path in taken or path in folders or not taken.isdisjoint(_folders(path)):
            raise InvalidRequest(
                f"`{place}mount_path`: {path!r} is taken by another file of the session; choose another."
            )
        taken.add(path)
        folders.update(_folders(path))


def _folders(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(len(UPLOADS.split("/")) + 1, len(parts))]
