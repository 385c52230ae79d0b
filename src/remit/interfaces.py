"""Every Protocol of Remit, with its contract in words. Read this first.

General contract. Everything is async and may be called concurrently unless it says otherwise. Cancellation is normal:
a cancelled call may or may not have happened, and repeating it with the same id or key is safe. Only exceptions of
`remit.errors` leave an implementation; foreign ones are translated there, with `from`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from socket import socket
from typing import NamedTuple, Protocol, runtime_checkable

from remit.errors import ToolsUnavailable
from remit.values import (
    Account,
    Append,
    Appended,
    BlobOwner,
    BlobReference,
    CallAttempt,
    CallEnded,
    CallStatus,
    Checkpoint,
    Collected,
    Credential,
    CredentialUse,
    EventRow,
    ExecRequest,
    ExecResult,
    FileRead,
    GrantRow,
    HandlerResult,
    HoldRow,
    ImageInfo,
    JsonObject,
    JsonValue,
    KeyRow,
    Lease,
    LiveItem,
    ModelDelta,
    ModelInfo,
    ModelRequest,
    ModelResponse,
    NetworkPolicy,
    NewStream,
    OutboxItem,
    Page,
    Pending,
    Principal,
    Probe,
    ProcessRequest,
    Purpose,
    Rate,
    Resource,
    ResourceFilter,
    SandboxCapabilities,
    SandboxSpec,
    Service,
    ShellRequest,
    StoredBlob,
    StreamFilter,
    StreamHead,
    StreamRead,
    Tool,
    ToolContext,
    ToolResult,
    ToolUse,
    Tree,
    TreeRecord,
    Trust,
    TurnEnd,
    TurnView,
    Verdict,
    VerifyRequest,
    Visibility,
)

# --------------------------------------------------------------------------------------------------- stores


class SessionStore(Protocol):
    """Durable keeper of streams: logs, accounts, outbox, wakes. Dumb: it fences, numbers, adds up and refuses;
    what an event means is not its business. Every method that takes a stream id sees only the principal's workspace
    (another workspace's id raises NotFound)."""

    async def create_stream(self, principal: Principal, stream: NewStream, append: Append) -> Appended:
        """Make a stream and its first append in one transaction. Idempotent by stream id: if it exists, the result has
        `is_duplicate` and nothing is done. Raises HoldRefused, StoreUnavailable; NotFound when the id is that of a
        deleted stream or another workspace's."""
        ...

    async def append(self, principal: Principal, append: Append) -> Appended:
        """One transaction: all of it or nothing; durable when this returns; rows are numbered in call order.

        Checks in this order: the stream exists (NotFound); the first event's key is new (else a duplicate: no error,
        nothing done); the epoch is the stream's (LeaseLost); `expected_seq` is the head (SequenceConflict); every
        other key and every public event id is new (Conflict); every effect fits (HoldRefused). An append may have no
        events (effects or summary alone need an epoch or expected_seq). With neither epoch nor expected_seq every
        event must have a key.
        """
        ...

    async def read(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        """Rows in order of seq; with `bytes_max` none after the one whose body fills it. Sees every append that returned
        before the call. Raises NotFound."""
        ...

    async def read_stream(
        self,
        principal: Principal,
        stream_id: str,
        *,
        after_seq: int = 0,
        limit: int = 1000,
        bytes_max: int | None = None,
    ) -> StreamRead:
        """The head, the rows as `read` gives them, and all accounts, of one instant and in one round trip. Raises
        NotFound."""
        ...

    async def read_before(
        self,
        principal: Principal,
        stream_id: str,
        *,
        before_seq: int,
        limit: int,
        bytes_max: int | None = None,
        visibility: Visibility | None = None,
    ) -> Sequence[EventRow]:
        """Rows with seq < before_seq, newest first; `bytes_max` as in `read`."""
        ...

    async def find_events(self, principal: Principal, stream_id: str, event_id: str) -> Sequence[EventRow]:
        """The rows with this event id (a receipt and its public row share one), by seq; empty if none."""
        ...

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        """The stream's row. Raises NotFound."""
        ...

    async def list_streams(
        self, principal: Principal, filter: StreamFilter, page: Page
    ) -> Sequence[StreamHead]:
        """Streams by (created_at, id)."""
        ...

    async def delete_stream(self, principal: Principal, stream_id: str, *, expected_seq: int) -> None:
        """Remove events, checkpoint and summary; accounts, open holds and grants stay readable, and settled holds where
        the stream has a parent, whose receipt shows them. For everything else the stream is NotFound afterwards, for ever. Raises SequenceConflict."""
        ...

    async def accounts(
        self, principal: Principal, stream_id: str, *, purposes: Sequence[str] | None = None
    ) -> Sequence[Account]:
        """The stream's accounts, or those with these purposes, sorted by (purpose, unit)."""
        ...

    async def holds(
        self, principal: Principal, stream_id: str, *, only_open: bool = False
    ) -> Sequence[HoldRow]:
        """The stream's holds in order of creation."""
        ...

    async def grants(self, principal: Principal, stream_id: str) -> Sequence[GrantRow]:
        """Both directions, in order of creation."""
        ...

    async def claim(
        self,
        owner: str,
        *,
        kinds: Sequence[str],
        lease_seconds: float,
        limit: int,
        stream_id: str | None = None,
        running: Mapping[str, int] | None = None,
        each_max: int | None = None,
    ) -> Sequence[Lease]:
        """Take leases on due streams (wake_at <= now, no live lease); the epoch goes up by one. Workspaces take turns: each
        next lease goes to the one with the fewest, those counted that it has `running` already; among equals, and within
        a workspace, to the oldest wake. A workspace that has `each_max` gets none. With `stream_id`: only that one. Never hands the same stream to two owners. Crosses workspaces (workers only).
        A claim takes the wake away; a stream whose lease lapses unreleased is due when it does. One that was released
        as near to another owner is due `NEAR_US` after its wake."""
        ...

    async def renew(self, leases: Sequence[Lease], *, lease_seconds: float) -> Sequence[str]:
        """Extend; returns the stream ids that are lost (their epoch has moved on)."""
        ...

    async def release(
        self, lease: Lease, *, seen_seq: int, wake_at_us: int | None, is_near: bool = False
    ) -> None:
        """Give up the lease. If rows after `seen_seq` exist the stream is due at once, else at `wake_at_us`
        (None: when something is appended), or at an earlier wake that came while it was leased and that the rows do not
        tell of. `is_near`: this owner keeps something for it, and gets it before others. A stale epoch is ignored."""
        ...

    async def wake(self, principal: Principal, stream_id: str, *, at_us: int) -> None:
        """Make the stream due at this time or earlier."""
        ...

    async def next_wake_us(self, kinds: Sequence[str], *, owner: str | None = None) -> int | None:
        """When the earliest unleased wake is due for this owner (a lapsed lease counts as one); None if there is none."""
        ...

    async def raise_epochs(self) -> None:
        """Only for a store that one process owns exclusively, at start: the former owner is dead, so every epoch goes
        up by one, every lease ends, and interrupted streams are due again at once. So are all with a wake: the clock may
        have been set back since it was written, and who is woken too early only looks."""
        ...

    async def outbox_due(self, limit: int) -> Sequence[tuple[int, str, OutboxItem]]:
        """Undelivered items, oldest first: (position, workspace id, item)."""
        ...

    async def outbox_done(self, positions: Sequence[int]) -> None:
        """Forget delivered items."""
        ...

    async def put_checkpoint(self, principal: Principal, checkpoint: Checkpoint) -> None:
        """Keep the newest fold; losing it is harmless."""
        ...

    async def checkpoint(self, principal: Principal, stream_id: str) -> Checkpoint | None:
        """The stored fold, if any."""
        ...

    async def close(self) -> None:
        """Finish what was accepted, then close. Further calls raise StoreUnavailable."""
        ...


class Catalog(Protocol):
    """Durable keeper of resources, keys and blob references. `kind` and `id` name a resource within a workspace."""

    async def create(
        self,
        principal: Principal,
        resource: Resource,
        *,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
    ) -> None:
        """Insert version 1; of those `along` as well, all of them or none. Raises Conflict when an id is taken, KeyTaken
        when a unique key is. With `parent_kind` their parents are resources of that kind, which must be there: raises
        NotFound. Of a deletion of the parent at the same moment one comes first: what is inserted goes with it."""
        ...

    async def retrieve(
        self, principal: Principal, kind: str, id: str, version: int | None = None
    ) -> Resource:
        """The current or the given version. Raises NotFound."""
        ...

    async def update(
        self,
        principal: Principal,
        resource: Resource,
        *,
        expected_version: int,
        is_new_version: bool,
        along: Sequence[Resource] = (),
        parent_kind: str | None = None,
    ) -> None:
        """Replace the current row if its version is `expected_version` (else Conflict), it is not archived (else
        WrongState: nothing un-archives) and its unique key is its own (else KeyTaken). With `is_new_version` the
        resource's version is one more and the former one stays retrievable. `created_at_us` and `parent_id` stay. Those
        `along` are created in the same transaction, as by `create` (`parent_kind` is that of their parents)."""
        ...

    async def list(
        self,
        principal: Principal,
        filter: ResourceFilter,
        page: Page,
    ) -> Sequence[Resource]:
        """Current versions by (created_at, id)."""
        ...

    async def count(self, principal: Principal, filter: ResourceFilter) -> int:
        """How many `list` would give on all pages."""
        ...

    async def versions(self, principal: Principal, kind: str, id: str, page: Page) -> Sequence[Resource]:
        """All versions, newest first unless `is_ascending`; the page position is (version, id)."""
        ...

    async def delete(self, principal: Principal, kind: str, id: str, *, with_children: bool = False) -> None:
        """Remove all versions; `with_children` also of whatever has it as parent, else that stays. Raises NotFound."""
        ...

    async def put_key(self, key: KeyRow) -> None:
        """Insert or replace by id."""
        ...

    async def resolve_key(self, sha256: str) -> KeyRow | None:
        """The key with this hash, also when revoked or expired (the caller decides)."""
        ...

    async def list_keys(self, workspace_id: str) -> Sequence[KeyRow]:
        """Keys of a workspace, oldest first."""
        ...

    async def drop_expired_keys(self, kind: str, *, before_us: int) -> int:
        """Forget keys of this kind, of any workspace, that expired before; gives how many."""
        ...

    async def reference_blobs(
        self, principal: Principal, owner_id: str, digests: Sequence[str], *, at_us: int
    ) -> None:
        """Note that `owner_id` (a stream or resource) needs these blobs, said now. Again: said later."""
        ...

    async def drop_references(
        self, principal: Principal, owner_id: str, *, said_before_us: int | None = None
    ) -> Sequence[str]:
        """Forget an owner's references, or those said before then; returns the digests of them that nobody in any
        workspace needs any more."""
        ...

    async def has_reference(self, principal: Principal, digest: str) -> bool:
        """Whether this workspace may read the blob."""
        ...

    async def unreferenced(self, digests: Sequence[str]) -> Sequence[str]:
        """Those of these that nobody in any workspace needs."""
        ...

    async def list_references(
        self, principal: Principal, *, after: BlobReference | None, limit: int
    ) -> Sequence[BlobReference]:
        """Who in this workspace needs what, in order."""
        ...

    async def list_owners(
        self,
        *,
        after: BlobOwner | None,
        limit: int,
        digest: str | None = None,
        silent_since_us: int | None = None,
    ) -> Sequence[BlobOwner]:
        """Who needs blobs, or this one, in any workspace, in order; with `silent_since_us` those who have said so of none
        since then. Crosses workspaces (collection only)."""
        ...

    async def list_everywhere(self, kind: str, page: Page) -> Sequence[Resource]:
        """Current versions in all workspaces by (created_at, id), archived ones too. Crosses workspaces (collection
        only)."""
        ...

    async def close(self) -> None:
        """See SessionStore.close."""
        ...


class BlobReader(Protocol):
    """What is stored, by sha256 (lower-case hex): immutable, shared by all workspaces (who may read is the catalog's
    references)."""

    async def read(self, digest: str) -> bytes:
        """The whole blob. Raises BlobMissing."""
        ...

    def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The blob in pieces. Raises BlobMissing at the first."""
        ...

    async def has(self, digests: Sequence[str]) -> frozenset[str]:
        """Those that are there."""
        ...


class BlobStore(BlobReader, Protocol):
    """The bytes themselves; several processes may share them. Durable when `put` returns. Only `resources.kept_blobs`
    puts and removes: it knows who needs what, and that nothing which was touched lately is removed."""

    async def put(self, content: bytes | AsyncIterator[bytes], *, size_bytes_max: int | None = None) -> str:
        """Store and return the digest; what is there already is touched. Raises TooLarge (nothing kept),
        StoreUnavailable."""
        ...

    async def put_many(self, contents: Sequence[bytes]) -> Sequence[str]:
        """Store all with one durability barrier; the digests in the same order. For many small files: batches of some
        ten megabytes. Raises StoreUnavailable (some may have been kept)."""
        ...

    async def touch(self, digests: Sequence[str]) -> frozenset[str]:
        """Say that these are needed now, as if they were put; those that are there."""
        ...

    async def remove(self, digests: Sequence[str], *, untouched_since_us: int) -> Sequence[str]:
        """Forget those that nobody put or touched since then; gives them. Of a touch at the same moment one comes first:
        either it finds the blob gone, or the blob stays. Missing ones are no error."""
        ...

    def walk(self) -> AsyncIterator[Sequence[StoredBlob]]:
        """All that was there before the first piece, in pieces; what comes or goes meanwhile may be in them or not."""
        ...


@runtime_checkable
class Collector(Protocol):
    """Knows one sort of things that may be left over."""

    async def collect(self) -> Sequence[Collected]:
        """Remove what nobody needs or uses, whoever works meanwhile; what was removed. Safe to cut at any await.
        Raises StoreUnavailable."""
        ...


class LiveBus(Protocol):
    """Hints and live-only frames. Lossy by contract: readers close gaps from the log."""

    def publish(self, item: LiveItem) -> None:
        """Never blocks, never raises. Only after what it tells of is durable."""
        ...

    def subscribe(
        self, stream_id: str, *, limit: int = 1000
    ) -> AbstractAsyncContextManager[LiveSubscription]:
        """Registered when entered. `stream_id="*"`: hints of all streams (without frames)."""
        ...

    def subscriber_count(self, stream_id: str) -> int:
        """How many readers this process has for the stream."""
        ...


class LiveSubscription(Protocol):
    """One reader's bounded queue. When it overflows, items are dropped and `is_lagging` is set: read the log."""

    is_lagging: bool

    async def next(self) -> LiveItem:
        """Wait for the next item."""
        ...

    def drain(self) -> Sequence[LiveItem]:
        """What is there now, without waiting."""
        ...


class Dispatcher(Protocol):
    """Turns wakes into runs of the handler. At least once, may be late or twice: the lease decides who works."""

    def hint(self, stream_id: str) -> None:
        """Something is due now. May be lost; `wake_at` in the store is the truth."""
        ...


# --------------------------------------------------------------------------------------------------- models


class ModelProvider(Protocol):
    """One protocol of one vendor. Knows nothing of money, retries or sessions."""

    def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Make one call: deltas, then exactly one ModelResponse, last. Raises ModelCallFailed. Closing the iterator
        aborts the call. No retries inside, but of a refusal that says how the request should have been. Ids of tool_use
        blocks are unique in the conversation, and such as every provider takes."""
        ...

    async def models(self) -> Sequence[ModelInfo]:
        """What this provider can serve now; empty when it has no key or cannot be reached."""
        ...

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Exact input tokens, where the provider can tell for nothing; None otherwise."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class TakesFields(Protocol):
    """What a ModelProvider also is when it can do something with `ModelRequest.fields`."""

    def takes(self, field: str) -> bool:
        """Whether this field reaches the model or changes nothing there; a beta is asked for as `beta:NAME`. Constant."""
        ...


@runtime_checkable
class SaysWhyNot(Protocol):
    """What a ModelProvider also is when it can tell, without asking anybody, that it cannot serve a model."""

    def why_not(self, model: str) -> str | None:
        """Why this model of the provider's cannot be called, with the mend; None when nothing speaks against it."""
        ...


@runtime_checkable
class StreamsAll(Protocol):
    """What a ModelProvider also is when it can tell that a model bills no output but what it streams."""

    def streams_all(self, request: ModelRequest) -> bool:
        """Whether every output token of this request is sent as it is made: there is no thinking that nobody sees.
        Asked without having been touched; False where that is not known."""
        ...


class Prices(Protocol):
    """What models cost."""

    def rate(self, model: str) -> Rate | None:
        """None: unpriced. `local/` and `scripted/` are zero unless overridden."""
        ...


class CallRecorder(Protocol):
    """Who makes a call durable: holds go in with the start, settlements with the end. One recorder per call site;
    implemented by a turn (session stream), by a grader (session stream, verification accounts)."""

    purpose: Purpose

    async def accounts(self) -> Sequence[Account]:
        """The accounts that bind this call: this stream, this purpose."""
        ...

    async def waits(self, limit: str, ahead: int) -> None:
        """The call has not been made: for a while it has waited for its turn at this limit, behind so many."""
        ...

    async def started(self, attempt: CallAttempt) -> None:
        """Append the start with its holds. Raises HoldRefused (nothing was appended), LeaseLost."""
        ...

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        """Append the end with its settlements; an answer's may become durable a moment later, with what begins because of
        it. Called exactly once per started attempt unless the process dies."""
        ...

    def thinking(self, attempt: CallAttempt) -> None:
        """The model has begun to think. Live only."""
        ...

    def delta(self, attempt: CallAttempt, text: str) -> None:
        """Live only."""
        ...


class ModelCaller(Protocol):
    """The gateway, as harnesses and graders see it."""

    async def call(
        self, principal: Principal, request: ModelRequest, recorder: CallRecorder
    ) -> ModelResponse:
        """One model call: planned against the recorder's accounts, held, streamed, settled, retried.
        Raises HoldRefused (the call was not made), Unpriced, ModelUnavailable, ModelCallFailed (retries are used up),
        LeaseLost. When cancelled the call is cut and settled as assumed before the cancellation goes on."""
        ...

    async def context_tokens(self, model: str) -> int:
        """How many tokens the model can read and write in one call; a cautious default where nobody knows."""
        ...


# ------------------------------------------------------------------------------------------------- sandboxes


class SandboxProvider(Protocol):
    """Makes sandboxes of one kind."""

    def capabilities(self) -> SandboxCapabilities:
        """What is promised; constant."""
        ...

    async def image(self, toolchains: Sequence[str] = ()) -> ImageInfo:
        """The image with these toolchain folders, made at first use (seconds), then cached. Raises SandboxUnavailable
        (a toolchain that is no folder, cannot be read by the sandbox's user, or lies where a secret could)."""
        ...

    async def probe(self) -> Sequence[Probe]:
        """Make a real sandbox and look; under 5 s; never raises. For `remit doctor` and at start."""
        ...

    async def create(self, spec: SandboxSpec) -> Sandbox:
        """A running sandbox with the tree in /workspace and the outputs in /mnt/session/outputs. Raises SandboxUnavailable, BlobMissing. The caller owns it and
        must destroy it; if this process dies, no process of it stays behind unless `survives_server`."""
        ...

    async def attach(self, key: str) -> Sandbox | None:
        """A sandbox that lives on from before, by its spec's key; None if there is none."""
        ...

    async def close(self) -> None:
        """Destroy all sandboxes and helper processes."""
        ...


class Listening(NamedTuple):
    """A socket that listens inside a sandbox."""

    path: str
    """As programs inside see it."""
    listener: socket


class Sandbox(Protocol):
    """A live isolated machine. Every operation may raise SandboxLost (then only `destroy` is useful) or SandboxRefused
    (a stale epoch, a path outside the roots). A command's own failure is a result, never an exception. Paths are
    absolute inside the sandbox; symlinks are resolved inside it, so nothing outside can be reached."""

    id: str
    key: str

    async def shell(self, request: ShellRequest) -> ExecResult:
        """Run in the one persistent bash (cwd, variables, background processes stay). One at a time: callers queue.
        Ends when the command ends, not at pipe EOF. On time-out the shell and its children are killed and a new shell
        is started in /workspace; the result says so."""
        ...

    async def restart_shell(self, *, epoch: int) -> None:
        """Kill the shell and its children; start afresh."""
        ...

    async def exec(self, request: ExecRequest) -> ExecResult:
        """Run one program by itself; its leftover children are killed when it ends. Concurrent."""
        ...

    async def open_process(self, request: ProcessRequest) -> socket:
        """Start one program by itself, and a socket that is its stdin and its stdout, non-blocking; the caller closes it.
        To shut down its sending end ends the program's stdin; its receiving end ends with the program and all that holds
        its stdout. The program runs as long as the sandbox does, or until `interrupt`; `call_status` tells of its end, with
        what it said on stderr. A program that cannot be started has ended with 126 or 127. Not idempotent: a call id that
        was used is refused (SandboxRefused)."""
        ...

    async def read_file(self, path: str, *, epoch: int, offset: int = 0, limit: int = 262_144) -> FileRead:
        """Raises SandboxRefused with a message for the model when the path is missing, a directory, or no regular file."""
        ...

    async def write_file(self, path: str, content: bytes, *, epoch: int, mode: int | None = None) -> None:
        """Atomic replace; makes parent folders. Keeps the mode of an existing file unless given."""
        ...

    async def glob(self, pattern: str, path: str, *, epoch: int, limit: int = 200) -> Sequence[str]:
        """Absolute paths, newest first. `**` recurses; never leaves `path`."""
        ...

    async def grep(
        self,
        pattern: str,
        path: str,
        *,
        epoch: int,
        output_bytes_max: int = 102_400,
        include: str | None = None,
    ) -> str:
        """`path:line:text` lines (Python regular expressions). A bad pattern raises SandboxRefused."""
        ...

    async def tree(self, root: str = "/workspace", previous: Tree | None = None) -> Tree:
        """Manifest of the files under root (without read-only mounts). Hashes of files whose size and mtime are as in
        `previous` are taken from there."""
        ...

    def fetch(self, root: str, paths: Sequence[str]) -> AsyncIterator[tuple[str, bytes]]:
        """Contents of regular files by relative path. A file that changed meanwhile yields what it is now; one that is
        gone is left out."""
        ...

    async def call_status(self, call_id: str) -> CallStatus:
        """What became of a shell or exec call (after a crash of ours)."""
        ...

    async def interrupt(self, call_id: str) -> None:
        """Kill what that call runs; its result has exit_code None. Unknown ids are no error."""
        ...

    async def replace_shared(self, path: str, tree_digest: str | None) -> bool:
        """Have the files of this tree (None: no files) in the read-only shared folder at this path from now on; what runs
        inside goes on, and sees each file whole or not yet. False where that cannot be. Raises BlobMissing, SandboxLost."""
        ...

    async def exchange_file(
        self, path: str, content: bytes | None, *, expected_sha256: str | None, epoch: int
    ) -> bool:
        """Put this content at the path (None: no file) if what is there has this hash (None: nothing is there, but perhaps
        empty folders); what runs inside sees the file before or after it. False, and nothing is done, where it is
        otherwise, where a link leads there, and where nothing can be put. Raises SandboxRefused (stale epoch), SandboxLost."""
        ...

    async def services(self) -> Sequence[Service]:
        """What listens on TCP inside, started by commands, by port; bounded."""
        ...

    async def connect(self, port: int) -> socket:
        """A TCP connection to this port of the sandbox's own loopback, non-blocking, perhaps still under way; the caller
        closes it. Raises SandboxRefused when nothing listens there."""
        ...

    async def listen(self, name: str, *, epoch: int) -> Listening:
        """A Unix socket that programs inside can connect to, and whose listening end, non-blocking, the caller accepts from
        and closes: what speaks to a guest needs no network. One of this name before is replaced. Raises SandboxRefused
        for a name that is none (`a-z`, digits, `-`), and where there can be no sockets."""
        ...

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        """What its requests carried since this was last asked, as far as their connections have ended."""
        ...

    async def take_record(self) -> TreeRecord:
        """Return what was done to the working tree since it was laid, of a sandbox that was made with a `ground`; once
        what is recorded is over. Elsewhere, and where nobody can look, the record says that it is not complete."""
        ...

    async def wait_lost(self) -> None:
        """Return when the sandbox has died (never after destroy)."""
        ...

    async def destroy(self) -> None:
        """Kill everything, remove its files. Idempotent."""
        ...


class Egress(Protocol):
    """The way out of sandboxes: listens inside each, and lets through what its policy allows."""

    def bind(self, sandbox_id: str, credentials: Sequence[Credential]) -> Trust:
        """Before `open`: let this sandbox's requests carry these. Raises SandboxUnavailable, InvalidRequest."""
        ...

    async def open(self, sandbox_id: str, policy: NetworkPolicy, listener: socket) -> None:
        """Serve an HTTP proxy on this listening socket (taken over) until `forget`. Raises SandboxUnavailable."""
        ...

    def take_uses(self, sandbox_id: str) -> Sequence[CredentialUse]:
        """See `Sandbox.take_credential_uses`."""
        ...

    async def forget(self, sandbox_id: str) -> None:
        """Close the listener and every connection of that sandbox, drop its credentials. Idempotent."""
        ...

    async def close(self) -> None:
        """Close all, end the proxy."""
        ...


class CredentialSource(Protocol):
    """Knows which credentials the requests of a session's sandboxes carry."""

    async def credentials(
        self, workspace_id: str, environment_id: str, session_id: str
    ) -> Sequence[Credential]:
        """Asked for every sandbox that is made. One that cannot be read is left out, and said in the log. Where two set
        the same header of one place, or the same variable, the first does."""
        ...


class LiveSandboxes(Protocol):
    """The sandboxes that are live for sessions now."""

    def use(self, session_id: str) -> Sandbox | None:
        """The session's sandbox, now counted as used (it is not released as idle at once); None if none is live here."""
        ...


# ---------------------------------------------------------------------------------------------- tools, harness


@dataclass(frozen=True, kw_only=True)
class ToolSession:
    """The session whose tools are opened."""

    workspace_id: str
    session_id: str
    environment_id: str
    agent: JsonObject
    """As the session has it now, resolved."""
    epoch: int
    config: JsonObject
    """The environment's, when the session was made."""
    sandbox: Callable[[], Awaitable[Sandbox]]
    """The session's sandbox, made if there is none. Raises what `SandboxProvider.create` raises, and
    PackagesNotInstalled."""


class Toolset(Protocol):
    """The tools of one session's agent. Implementations inherit, for what most have in common."""

    @property
    def tools(self) -> Sequence[Tool]:
        """The tools in a fixed order, those that are off too; constant."""
        ...

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        """What of the agent's tools could not be had, each to be said once."""
        return ()

    @property
    def is_current(self) -> bool:
        """Whether it can serve the next turn as well; else the source is asked to open once more."""
        return True

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        """Which credentials its own requests carried since the last time, see `Sandbox.take_credential_uses`."""
        return ()

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        """What is wrong with the input, for the model; None if it is fine."""
        ...

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        """Run one use; `sandbox` is there if the tool needs it. A tool's own failure is an error result. May be cancelled.
        Raises SandboxLost."""
        ...


class ToolSource(Protocol):
    """Has tools of one sort for every session."""

    async def open(self, session: ToolSession) -> Toolset:
        """The session's tools of this sort, as its agent and environment have them now; asked for before a turn goes on
        where there are none yet, where the agent was changed, or where the last ones are no longer current. Bounded in
        time. What cannot be had is among its `problems`, never raised. Raises SandboxLost, LeaseLost, StoreUnavailable."""
        ...

    async def forget(self, session_id: str) -> None:
        """The session is deleted or another worker owns it: close what is open for it."""

    async def close(self) -> None:
        """Close all."""


class Harness(Protocol):
    """The loop around a model; stateless between turns; a guest of the platform.

    Contract: act only through `turn`; return when the model has nothing more to do or something must be waited for.
    May be cancelled at any await, and run again on a later view of the same log: what a view shows as done is done.
    Exceptions of Turn's methods must be let through.
    """

    name: str
    version: str

    async def run(self, turn: Turn) -> TurnEnd:
        """Carry the turn on from what the log says until it ends."""
        ...


class Turn(Protocol):
    """All a harness gets: the log's view, the model, the tools, and notes.

    When a person says stop the harness is cancelled at its next await; what was under way is cut and recorded for it.
    What a method has returned becomes durable at the latest before the next call or tool begins, and when the harness
    waits for anything else: nothing is lost that somebody outside has seen, as long as they see it through `Turn`.
    Every method may raise: HoldRefused (the budget is reached), LeaseLost,
    ModelCallFailed (retries are used up), StoreUnavailable. A harness lets them through.
    """

    @property
    def view(self) -> TurnView:
        """What the log says now."""
        ...

    async def take_input(self) -> TurnView:
        """Consume waiting input, as at the start of every step: answers and changes, and on the way to an outcome messages,
        which may steer. Other messages are handled in order, after what precedes them: when the harness has returned."""
        ...

    async def call_model(self, request: ModelRequest) -> ModelResponse:
        """One model call: held, streamed, recorded, settled, retried. Its tool uses appear in the next view."""
        ...

    async def run_tools(self, uses: Sequence[ToolUse]) -> TurnView:
        """Run uses (concurrently where safe) and record their results. Uses that are already answered are skipped."""
        ...

    async def say_to_model(self, name: str, text: str) -> TurnView:
        """Add a private user-role note to the history (a reminder of the harness, not shown as a user's message)."""
        ...

    async def note(self, name: str, value: JsonValue) -> TurnView:
        """Keep a small value in the log for later turns of this harness."""
        ...


# --------------------------------------------------------------------------------------------------- verifying


class Verifier(Protocol):
    """Something outside the agent's reach that says whether an outcome holds."""

    type: str

    async def check(
        self,
        principal: Principal,
        verifier: dict[str, JsonValue],
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        """Refuse a specification that cannot run here (VerifierUnavailable, InvalidRequest), before anything is spent.
        With `has_packages` the environment installs packages: a program that the image lacks may come with them."""
        ...

    def is_priced(self, verifier: dict[str, JsonValue]) -> bool:
        """Whether running it costs money (a grader) or not (a command)."""
        ...

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict | Pending:
        """Judge a tree. `recorder` is given to priced ones. Raises HoldRefused, ModelCallFailed, SandboxUnavailable,
        SandboxLost: none of these is a verdict.

        Pending: it waits for something, and is asked again with the same request once that time has come, by whoever works
        on the session then; perhaps sooner, and perhaps once more after it has answered, which it then does in the same
        way. It is asked no more when people interrupt, send the agent on, or another verifier has failed: it must not rely
        on being told. What it begins elsewhere it finds again by the request's stream, tree and specification, since a
        process may die between its answer and the log."""
        ...


# ------------------------------------------------------------------------------------------------- orchestrator


class StreamHandler(Protocol):
    """What a worker runs for streams of one kind."""

    kind: str

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        """Carry the stream on as far as it goes now. Must be safe to cut at any await and to run again."""
        ...

    async def forget(self, stream_id: str) -> None:
        """The stream is deleted or another worker owns it: keep nothing of it in memory, destroy what runs for it."""
        ...
