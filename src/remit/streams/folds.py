"""Folds of streams that were asked for lately: whoever reads, and whoever works, takes in only the rows that are new."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, NamedTuple

import structlog

from remit.errors import NotFound, StoreUnavailable
from remit.interfaces import SessionStore
from remit.streams.kinds import S, StreamKind
from remit.streams.reading import BYTES_PER_READ, ROWS_PER_READ, read_on
from remit.values import Account, EventRow, Principal, StreamHead

logger = structlog.get_logger(__name__)

FOLDS_MAX = 256
"""More than a page of a list, which would otherwise replay each stream every time."""


@dataclass
class Fold(Generic[S]):
    """One stream's."""

    stream_id: str
    state: S
    stored_seq: int
    """Where the store's own copy stands; 0 while it has none that can be used."""


class Loaded(NamedTuple, Generic[S]):
    """A stream as it was when it was read; the state may be of a later moment than the head and the accounts."""

    state: S
    head: StreamHead
    accounts: Sequence[Account]


class Folds(Generic[S]):
    """A bounded cache of one kind; losing it costs a replay.

    Who reads shares a state with others, and one that folds in place grows meanwhile: decide on it without awaiting
    anything in between, and put its `seq` into `expected_seq`. Who works takes a fold out, and puts it back at rest: what
    a writer has folded ahead of the store is nobody else's to see, so readers and workers have a cache each.
    """

    def __init__(
        self, kind: StreamKind[S], store: SessionStore, *, is_whole: bool = False, folds_max: int = FOLDS_MAX
    ) -> None:
        """`is_whole`: with what only a worker needs (see StoredFolds)."""
        self.kind = kind
        self._store = store
        self._is_whole = is_whole
        self._folds_max = folds_max
        self._folds: OrderedDict[str, Fold[S]] = OrderedDict()

    # ------------------------------------------------------------------------------------------ who reads

    async def load(self, principal: Principal, stream_id: str) -> tuple[S, StreamHead]:
        """The fold of every row that was durable before the call. Raises NotFound, also for a deleted stream."""
        loaded = await self.load_all(principal, stream_id)
        return loaded.state, loaded.head

    async def load_all(
        self, principal: Principal, stream_id: str, *, with_deleted: bool = False
    ) -> Loaded[S]:
        """Return the fold with the accounts, in one round trip; `with_deleted`: also when a deletion is
        recorded but not yet carried out."""
        known, stored = self._folds.get(stream_id), self.kind.stored
        try:
            read = await self._store.read_stream(
                principal,
                stream_id,
                after_seq=0 if known is None else known.state.seq,
                limit=ROWS_PER_READ if known is not None or stored is None else stored.ROWS_MIN,
                bytes_max=BYTES_PER_READ,
            )
        except NotFound as error:
            self.forget(stream_id)
            raise self.kind.missing(stream_id) from error
        state = await self._at(principal, read.head, read.rows)
        if self.kind.is_gone(state) and not with_deleted:
            raise self.kind.missing(stream_id)
        return Loaded(state, read.head, read.accounts)

    async def head(self, principal: Principal, stream_id: str) -> StreamHead:
        """The stream's row, if it is of this kind. Raises NotFound."""
        try:
            head = await self._store.head(principal, stream_id)
        except NotFound as error:
            self.forget(stream_id)
            raise self.kind.missing(stream_id) from error
        if head.kind != self.kind.name:
            raise self.kind.missing(stream_id)
        return head

    async def at(self, principal: Principal, head: StreamHead) -> S:
        """The fold of every row up to this head, and maybe of later ones. Raises NotFound."""
        return await self._at(principal, head, ())

    async def _at(self, principal: Principal, head: StreamHead, rows: Sequence[EventRow]) -> S:
        """The same; `rows` were read already, after what the fold had then: one that was let go meanwhile begins anew."""
        stream_id = head.stream_id
        if head.kind != self.kind.name:
            raise self.kind.missing(stream_id)
        fold = self._folds.get(stream_id)
        if fold is None:
            fold = await self._begin(principal, stream_id, head.seq)
            # Another request may have begun meanwhile.
            fold = self._folds.setdefault(stream_id, fold)
        self._keep(fold)
        if rows and rows[0].seq <= fold.state.seq + 1:
            self._fold_on(fold, rows)
        if fold.state.seq < head.seq:
            async for more in read_on(self._store, principal, stream_id, after_seq=fold.state.seq):
                self._fold_on(fold, more)
        if fold.state.seq < head.seq:
            raise self.kind.missing(stream_id)
        return fold.state

    def _fold_on(self, fold: Fold[S], rows: Sequence[EventRow]) -> None:
        """Another request may have folded some of these rows while this one was reading them."""
        fold.state = self.kind.fold([row for row in rows if row.seq > fold.state.seq], fold.state)

    def forget(self, stream_id: str) -> None:
        """Let go of a stream that is deleted, or another worker's."""
        self._folds.pop(stream_id, None)

    # ------------------------------------------------------------------------------------------ who works

    async def take(self, principal: Principal, stream_id: str) -> Fold[S]:
        """A fold to go on from, for whoever holds the stream's lease: it is kept by nobody else until it is put back."""
        fold = self._folds.pop(stream_id, None)
        return fold if fold is not None else await self._begin(principal, stream_id, None)

    async def put_back(self, principal: Principal, fold: Fold[S]) -> None:
        """Keep a fold that has come to rest, here and, where the log has grown enough since, in the store."""
        stored, state = self.kind.stored, fold.state
        if stored is not None and stored.is_due(state.seq, fold.stored_seq):
            try:
                await self._store.put_checkpoint(principal, stored.encode(state))
            except (NotFound, StoreUnavailable) as error:
                # Deleted meanwhile, or the store is in trouble, which the worker meets by itself: the log has it all.
                logger.info("checkpoint.not_stored", stream_id=fold.stream_id, error=str(error))
            else:
                fold.stored_seq = state.seq
        self._keep(fold)

    def _keep(self, fold: Fold[S]) -> None:
        self._folds[fold.stream_id] = fold
        self._folds.move_to_end(fold.stream_id)
        while len(self._folds) > self._folds_max:
            self._folds.popitem(last=False)

    async def _begin(self, principal: Principal, stream_id: str, head_seq: int | None) -> Fold[S]:
        """A stored fold, where the log is so long that it is read sooner; whoever does not know its length looks."""
        stored = self.kind.stored
        if stored is None:
            return Fold(stream_id, self.kind.start(), 0)
        is_worth_it = head_seq is None or head_seq >= stored.ROWS_MIN
        checkpoint = await self._store.checkpoint(principal, stream_id) if is_worth_it else None
        state = stored.decode(checkpoint, is_whole=self._is_whole)
        return Fold(stream_id, state, stored_seq=state.seq)
