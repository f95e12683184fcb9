"""Reservations: nothing is granted twice, lost or below zero, whatever is said in whatever order."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from spendstream.budgets.reservations import Account, ReservationBook, Totals

TTL = 60
HERE, NEXT = Account("search", 0), Account("search", 100)


@pytest.fixture
def book():
    return ReservationBook(TTL)


def test_what_a_call_did_not_need_is_released_when_it_is_settled(book):
    assert book.reserve("r", HERE, 10, limit=10, now=0)
    assert book.totals(HERE).open == 10
    book.settle("r", HERE, 7, now=1)
    assert book.totals(HERE) == Totals(granted=10, settled=7, released=3)


def test_no_more_is_granted_than_the_limit_and_what_is_released_is_free_again(book):
    assert book.reserve("a", HERE, 6, limit=10, now=0)
    assert not book.reserve("b", HERE, 5, limit=10, now=0)
    book.release("a", HERE, now=1)
    assert book.reserve("b", HERE, 5, limit=10, now=1), "a refusal is not remembered"


def test_a_period_has_an_account_of_its_own(book):
    assert book.reserve("a", HERE, 10, limit=10, now=0)
    assert book.reserve("a", NEXT, 10, limit=10, now=0)
    book.settle("a", NEXT, 10, now=0)
    assert (book.totals(HERE).open, book.totals(NEXT).settled) == (10, 10)


def test_a_call_that_outlives_its_reservation_is_settled_in_full(book):
    book.reserve("a", HERE, 10, limit=10, now=0)
    book.expire(TTL)
    assert book.totals(HERE) == Totals(granted=10, released=10)
    book.settle("a", HERE, 8, now=TTL + 1)
    assert book.totals(HERE) == Totals(granted=18, settled=8, released=10)


def test_a_reservation_that_is_extended_lives_on_and_never_shrinks(book):
    book.reserve("a", HERE, 4, limit=10, now=0)
    assert book.extend("a", HERE, 8, limit=10, now=50)
    assert book.extend("a", HERE, 2, limit=10, now=51)
    assert not book.extend("a", HERE, 11, limit=10, now=52)
    book.expire(TTL + 40)
    assert book.totals(HERE).open == 8
    assert not book.extend("nobody", HERE, 1, limit=10, now=0)


def test_a_call_may_cost_more_than_was_reserved_and_than_there_is(book):
    book.reserve("a", HERE, 4, limit=10, now=0)
    book.settle("a", HERE, 30, now=1)
    assert book.totals(HERE) == Totals(granted=30, settled=30)
    assert not book.reserve("b", HERE, 1, limit=10, now=2)


def test_negative_money_is_refused(book):
    for verb in (book.reserve, book.extend):
        with pytest.raises(ValueError, match="negative"):
            verb("a", HERE, -1, limit=10, now=0)
    with pytest.raises(ValueError, match="negative"):
        book.settle("a", HERE, -1, now=0)


def test_a_forgotten_account_starts_anew(book):
    book.reserve("a", HERE, 4, limit=10, now=0)
    book.forget(HERE)
    assert book.totals(HERE) == Totals()
    assert book.reserve("a", HERE, 10, limit=10, now=0)


@given(
    verb=st.sampled_from(["reserve", "extend", "settle", "release"]),
    first=st.integers(0, 10),
    amount=st.integers(0, 10),
)
def test_saying_a_thing_again_changes_nothing(verb, first, amount):
    book = ReservationBook(TTL)
    book.reserve("a", HERE, first, limit=20, now=0)

    def say():
        if verb == "release":
            book.release("a", HERE, now=1)
        elif verb == "settle":
            book.settle("a", HERE, amount, now=1)
        else:
            getattr(book, verb)("a", HERE, amount, limit=20, now=1)

    say()
    once = book.totals(HERE)
    say()
    assert book.totals(HERE) == once


class Conservation(RuleBasedStateMachine):
    """Any sequence of verbs: the books balance, nothing is negative, and grants stay within the limit."""

    def __init__(self):
        super().__init__()
        self.book = ReservationBook(TTL)
        self.now = 0

    requests = st.sampled_from("abcd")
    accounts = st.sampled_from([HERE, NEXT])
    amounts = st.integers(0, 50)

    @rule(request=requests, account=accounts, amount=amounts, limit=st.integers(0, 100))
    def reserve(self, request, account, amount, limit):
        before = self.book.totals(account)
        granted = self.book.reserve(request, account, amount, limit=limit, now=self.now)
        after = self.book.totals(account)
        assert after.granted - before.granted in ((0, amount) if granted else (0,))
        if after != before:
            assert after.settled + after.open <= limit

    @rule(request=requests, account=accounts, amount=amounts, limit=st.integers(0, 100))
    def extend(self, request, account, amount, limit):
        before = self.book.totals(account)
        self.book.extend(request, account, amount, limit=limit, now=self.now)
        after = self.book.totals(account)
        if after != before:
            assert after.settled + after.open <= limit

    @rule(request=requests, account=accounts, cost=amounts)
    def settle(self, request, account, cost):
        before = self.book.totals(account).settled
        self.book.settle(request, account, cost, now=self.now)
        assert self.book.totals(account).settled - before in (0, cost)

    @rule(request=requests, account=accounts)
    def release(self, request, account):
        self.book.release(request, account, now=self.now)

    @rule(ahead=st.integers(0, 2 * TTL))
    def time_passes(self, ahead):
        self.now += ahead
        self.book.expire(self.now)

    @invariant()
    def the_books_balance(self):
        for account in (HERE, NEXT):
            totals = self.book.totals(account)
            assert totals.granted == totals.settled + totals.released + totals.open
            assert min(totals.granted, totals.settled, totals.released, totals.open) >= 0
            held = sum(one.amount for key, one in self.book._open.items() if key[1] == account)
            assert totals.open == held


TestConservation = Conservation.TestCase
