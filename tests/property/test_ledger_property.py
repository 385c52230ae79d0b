"""Whatever is granted, held, settled or crashed in between: nobody ever spends more than the root was given."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from remit.errors import HoldRefused
from remit.ledger.accounts import LedgerRows, account_key, apply_effects, grant_key, hold_key
from remit.values import (
    Account,
    Effect,
    GrantClose,
    GrantGiveBack,
    GrantIn,
    GrantOut,
    Hold,
    OpenAccount,
    Settle,
    Value,
)

AMOUNTS = st.integers(min_value=0, max_value=60)


class Grant(Value, frozen=True, kw_only=True):
    """A grant as its maker knows it."""

    grant_id: str
    parent: str
    child: str
    amount: int


class TreeOfStreams(RuleBasedStateMachine):
    """Streams that grant to each other. Each effect is one append on one stream, so a crash may fall between any two:
    the rules do the halves of a grant apart, in any order that the protocol allows, and repeat them at will."""

    grants = Bundle("grants")
    holds = Bundle("holds")
    streams = Bundle("streams")

    @initialize(target=streams, cap=st.integers(min_value=0, max_value=80))
    def root(self, cap: int) -> str:
        self.cap = cap
        self.rows: dict[str, LedgerRows] = {}
        self.given_back: dict[str, int] = {}
        self.number = 0
        self.apply("root", OpenAccount(unit="tokens", purpose="work", cap=cap))
        return "root"

    @rule(target=streams, parent=streams, amount=AMOUNTS, is_cut=st.booleans())
    def grant_to_new_child(self, parent: str, amount: int, is_cut: bool) -> str:
        child = self.new("stream")
        self.grant(parent, child, amount, is_cut=is_cut)
        return child

    @rule(target=grants, parent=streams, child=streams, amount=AMOUNTS, is_cut=st.booleans())
    def grant_more(self, parent: str, child: str, amount: int, is_cut: bool) -> Grant | None:
        if child == "root":  # the root's account is nobody's child
            return None
        return self.grant(parent, child, amount, is_cut=is_cut)

    @rule(grant=grants)
    def repeat_both_halves(self, grant: Grant | None) -> None:
        """What a reconciler does after a crash between the two."""
        if grant is not None and grant.grant_id not in self.given_back:
            self.apply(grant.child, self.grant_in(grant))
            assert self.apply(grant.parent, self.grant_out(grant))

    @rule(grant=grants, amount=AMOUNTS, is_cut=st.booleans())
    def close(self, grant: Grant | None, amount: int, is_cut: bool) -> None:
        if grant is None:
            return
        if grant.grant_id not in self.given_back:
            self.apply(grant.child, self.grant_in(grant))
            back = GrantGiveBack(
                grant_id=grant.grant_id, unit="tokens", purpose="work", amount=min(amount, grant.amount)
            )
            if not self.apply(grant.child, back):
                return
            self.given_back[grant.grant_id] = back.amount
        if not is_cut:
            spent = grant.amount - self.given_back[grant.grant_id]
            close = GrantClose(grant_id=grant.grant_id, unit="tokens", purpose="work", spent=spent)
            assert self.apply(grant.parent, close)

    @rule(target=holds, stream=streams, amount=AMOUNTS)
    def hold(self, stream: str, amount: int) -> tuple[str, str, int] | None:
        hold_id = self.new("hold")
        hold = Hold(hold_id=hold_id, unit="tokens", purpose="work", amount=amount)
        before = self.account(stream)
        is_held = self.apply(stream, hold)
        fits = before is not None and before.cap is not None and amount <= before.cap - committed(before)
        assert is_held == fits
        return (stream, hold_id, amount) if is_held else None

    @rule(hold=consumes(holds), part=st.floats(min_value=0, max_value=1), is_assumed=st.booleans())
    def settle(self, hold: tuple[str, str, int] | None, part: float, is_assumed: bool) -> None:
        if hold is None:
            return
        stream, hold_id, amount = hold
        cost = amount if is_assumed else round(amount * part)
        assert self.apply(stream, Settle(hold_id=hold_id, unit="tokens", amount=cost, is_assumed=is_assumed))

    @invariant()
    def no_account_is_over_its_cap(self) -> None:
        for rows in self.rows.values():
            for account in rows.accounts:
                assert account.cap is not None
                assert min(account.spent, account.held, account.granted) >= 0
                assert committed(account) <= account.cap

    @invariant()
    def the_whole_tree_spends_and_holds_no_more_than_the_root_was_given(self) -> None:
        """Spent by calls, not booked by grants: what settled holds say, wherever they are."""
        settled = sum(hold.settled or 0 for rows in self.rows.values() for hold in rows.holds)
        held = sum(hold.amount for rows in self.rows.values() for hold in rows.holds if hold.state == "open")
        assert settled + held <= self.cap

    @invariant()
    def a_childs_cap_is_what_came_in_and_did_not_go_back(self) -> None:
        for stream, rows in self.rows.items():
            if stream != "root":
                came_in = sum(grant.amount for grant in rows.grants if grant.direction == "in")
                went_back = sum(
                    grant.amount - (grant.spent or 0)
                    for grant in rows.grants
                    if grant.direction == "in" and grant.state == "closed"
                )
                assert [account.cap for account in rows.accounts] == [came_in - went_back]

    @invariant()
    def rows_agree_with_their_account(self) -> None:
        for rows in self.rows.values():
            for account in rows.accounts:
                assert account.held == sum(hold.amount for hold in rows.holds if hold.state == "open")
                assert account.granted == sum(
                    grant.amount
                    for grant in rows.grants
                    if grant.direction == "out" and grant.state == "open"
                )

    # ---------------------------------------------------------------------------------------------- acts

    def grant(self, parent: str, child: str, amount: int, *, is_cut: bool) -> Grant | None:
        if child == parent:
            return None
        grant = Grant(grant_id=self.new("grant"), parent=parent, child=child, amount=amount)
        if not self.apply(parent, self.grant_out(grant)):
            return None
        if not is_cut:
            self.apply(child, self.grant_in(grant))
        return grant

    def grant_out(self, grant: Grant) -> GrantOut:
        return GrantOut(
            grant_id=grant.grant_id,
            unit="tokens",
            purpose="work",
            amount=grant.amount,
            child_stream_id=grant.child,
        )

    def grant_in(self, grant: Grant) -> GrantIn:
        return GrantIn(grant_id=grant.grant_id, unit="tokens", purpose="work", amount=grant.amount)

    def apply(self, stream: str, *effects: Effect) -> bool:
        """False when refused."""
        rows = self.rows.get(stream, LedgerRows())
        try:
            changed = apply_effects(rows, effects, stream_id=stream, seq=1, now_us=1)
        except HoldRefused:
            return False
        self.rows[stream] = LedgerRows(
            accounts=tuple(({account_key(row): row for row in (*rows.accounts, *changed.accounts)}).values()),
            holds=tuple(({hold_key(row): row for row in (*rows.holds, *changed.holds)}).values()),
            grants=tuple(({grant_key(row): row for row in (*rows.grants, *changed.grants)}).values()),
        )
        return True

    def account(self, stream: str) -> Account | None:
        return next(iter(self.rows.get(stream, LedgerRows()).accounts), None)

    def new(self, prefix: str) -> str:
        self.number += 1
        return f"{prefix}_{self.number}"


def committed(account: Account) -> int:
    return account.spent + account.held + account.granted


TestTreeOfStreams = TreeOfStreams.TestCase
TestTreeOfStreams.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
