"""The bounds of the answers in this process, and what goes first."""

from hypothesis import given
from hypothesis import strategies as st

from spendstream.caching.answers import Answer
from spendstream.caching.memory import MemoryAnswers

_KIB = 1024


def _answer(name, *, tenant="acme", size=0, cost=1_000):
    return Answer(
        tenant=tenant,
        digest=str(name).encode().ljust(32),
        provider="openai",
        model="gpt-4",
        body=bytes(size),
        finish_reason="stop",
        input_tokens=1,
        output_tokens=1,
        cost=cost,
        created_at=0,
    )


async def _has(store, name, now=0):
    return await store.find("acme", str(name).encode().ljust(32), now) is not None


_steps = st.lists(
    st.tuples(
        st.sampled_from(["keep", "keep", "keep", "find", "purge"]),
        st.integers(0, 12),
        st.sampled_from(["acme", "umbrella"]),
        st.integers(0, 6_000),
        st.integers(0, 50),
    ),
    max_size=60,
)


@given(_steps)
async def test_bytes_are_bounded_and_counted_whatever_happens(steps):
    store, model = MemoryAnswers(40 * _KIB), {}
    for now, (verb, name, tenant, size, ttl) in enumerate(steps):
        answer = _answer(name, tenant=tenant, size=size)
        if verb == "keep":
            await store.keep(answer, ttl, now)
            model[tenant, answer.digest] = answer, now + ttl
        elif verb == "find":
            found = await store.find(tenant, answer.digest, now)
            kept, expires_at = model.get((tenant, answer.digest), (None, 0))
            assert found is None or (found == kept and now < expires_at)
        else:
            await store.purge(tenant)
            model = {key: kept for key, kept in model.items() if key[0] != tenant}
        assert 0 <= store.taken <= 40 * _KIB
        assert (store.taken == 0) == (len(store) == 0)


async def test_an_answer_is_gone_when_its_time_is_over():
    store = MemoryAnswers(40 * _KIB)
    await store.keep(_answer("a"), 10, 0)
    assert await _has(store, "a", 9)
    assert not await _has(store, "a", 10)
    assert len(store) == 0


async def test_what_saves_least_for_its_room_goes_first():
    store = MemoryAnswers(64 * _KIB)
    await store.keep(_answer("dear", size=5_000, cost=10**9), 10**9, 0)
    for number in range(100):
        await store.keep(_answer(number, size=5_000, cost=10**3), 10**9, 0)
    assert await _has(store, "dear")


async def test_what_is_used_stays():
    store = MemoryAnswers(64 * _KIB)
    await store.keep(_answer("used", size=5_000), 10**9, 0)
    for number in range(100):
        await _has(store, "used")
        await store.keep(_answer(number, size=5_000), 10**9, 0)
    assert await _has(store, "used")


async def test_old_merit_fades():
    store = MemoryAnswers(64 * _KIB)
    await store.keep(_answer("once", size=5_000), 10**9, 0)
    for _ in range(20):
        await _has(store, "once")
    for number in range(2_000):
        await store.keep(_answer(number, size=5_000), 10**9, 0)
    assert len(store) > 1
    assert not await _has(store, "once")


async def test_what_has_expired_goes_before_what_is_worth_least():
    store = MemoryAnswers(64 * _KIB)
    await store.keep(_answer("cheap", size=5_000, cost=1), 10**9, 0)
    for number in range(9):
        await store.keep(_answer(number, size=5_000, cost=10**9), 5, 0)
    for number in range(9, 18):
        await store.keep(_answer(number, size=5_000, cost=10**9), 10**9, 6)
    assert await _has(store, "cheap", 6)


async def test_an_answer_that_would_take_much_of_all_room_is_not_kept():
    store = MemoryAnswers(64 * _KIB)
    await store.keep(_answer("huge", size=9_000), 10**9, 0)
    assert not await _has(store, "huge")


async def test_keeping_the_same_answer_for_ever_takes_no_more_memory():
    store = MemoryAnswers(64 * _KIB)
    for now in range(5_000):
        await store.keep(_answer("same"), 10**9, now)
    assert len(store) == 1
    assert len(store._by_priority) < 100
    assert len(store._by_expiry) < 100
