"""The book of recommendations: what is news, what was applied, and what came of it."""

from spendstream.allocation import OPENCOST, Rates
from spendstream.rightsizing.book import FOLLOWED, RecommendationBook
from spendstream.rightsizing.days import DAY, Container
from spendstream.rightsizing.recommending import recommend
from tests.fixtures.containers import GIB, MIB, START, container_day, history

LEGACY = Container("prod", "shop", "Deployment", "legacy-app", "app")


def read(book, days, now=None, rates=OPENCOST):
    fresh = recommend(LEGACY, days, now or days[-1].last, rates)
    news = list(book.read(fresh, days, rates))
    book.note(news)
    return news


def applied_after(days):
    """Return a book in which the recommendation of `days` was applied, and the settings of that."""
    book = RecommendationBook()
    (first,) = read(book, days)
    settings = {"cpu_request": first.cpu.target, "memory_request": first.memory.target, "revision": "two"}
    return book, first, settings


def states(news):
    return [each.state for each in news]


def test_a_first_recommendation_is_news_and_the_same_again_is_not():
    book = RecommendationBook()
    assert states(read(book, history(14))) == ["open"]
    assert read(book, history(14)) == []
    assert read(book, history(15)) == []


def test_a_target_that_moves_by_less_than_a_tenth_is_no_news():
    book = RecommendationBook()
    read(book, history(14, memory=300 * MIB))
    assert read(book, [*history(14, memory=300 * MIB), container_day(14, memory=315 * MIB)]) == []


def test_a_materially_different_one_supersedes_the_one_before():
    book = RecommendationBook()
    (first,) = read(book, history(14))
    superseded, second = read(book, history(14, memory=450 * MIB))
    assert (superseded.id, superseded.state) == (first.id, "superseded")
    assert second.state == "open"
    assert second.memory.target > first.memory.target


def test_what_a_recommendation_saves_is_news_once_there_is_a_price():
    book = RecommendationBook()
    (unpriced,) = read(book, history(14), rates=Rates())
    (priced,) = read(book, history(14))
    assert unpriced.freed_per_hour is None
    assert priced.freed_per_hour > 0
    assert priced.id == unpriced.id
    assert read(book, history(14)) == []
    assert read(book, history(14), rates=Rates()) == []


def test_one_that_is_refused_now_supersedes_the_one_before():
    book = RecommendationBook()
    read(book, history(14))
    superseded, second = read(book, history(14, scaled_on="cpu,memory"))
    assert (superseded.state, second.state) == ("superseded", "refused")


def test_a_revision_that_requests_what_was_recommended_is_applied_since_it_was_first_seen():
    days = history(14)
    book, first, settings = applied_after(days)
    days.append(container_day(14, **settings))
    applied, fresh = read(book, days, START + 14 * DAY + 10**6)
    assert (applied.id, applied.state) == (first.id, "applied")
    assert applied.follow_up.applied_at == START + 14 * DAY
    assert applied.follow_up.saved_per_hour == first.freed_per_hour
    assert fresh.state == "refused"  # it was deployed today


def test_a_revision_that_requests_something_else_is_not_applied():
    days = history(14)
    book, _, settings = applied_after(days)
    days.append(container_day(14, **{**settings, "memory_request": 900 * MIB}))
    assert "applied" not in states(read(book, days))


def test_breaches_since_are_told_day_by_day():
    days = history(14)
    book, first, settings = applied_after(days)
    days.append(container_day(14, **settings))
    read(book, days)
    days.append(container_day(15, memory=first.memory.target * 1.2, **settings))
    followed = [each for each in read(book, days) if each.state == "applied"]
    assert [(each.follow_up.days, each.follow_up.breaches) for each in followed] == [(2, 1)]
    assert [each for each in read(book, days) if each.state == "applied"] == []
    days.append(container_day(16, oom_kills=1, **settings))
    followed = [each for each in read(book, days) if each.state == "applied"]
    assert [(each.follow_up.days, each.follow_up.breaches) for each in followed] == [(3, 2)]


def test_an_applied_one_is_followed_for_two_weeks():
    days = history(14)
    book, _, settings = applied_after(days)
    found = []
    for number in range(14, 14 + FOLLOWED + 5):
        days.append(container_day(number, **settings))
        found += [each.follow_up.days for each in read(book, days) if each.state == "applied"]
    assert found == list(range(1, FOLLOWED + 1))


def test_a_breach_late_on_the_last_day_of_the_two_weeks_is_told():
    days = history(14)
    book, _, settings = applied_after(days)
    for number in range(14, 14 + FOLLOWED):
        days.append(container_day(number, **settings))
        read(book, days)
    days[-1] = container_day(14 + FOLLOWED - 1, oom_kills=1, **settings)
    followed = [each for each in read(book, days) if each.state == "applied"]
    assert [(each.follow_up.days, each.follow_up.breaches) for each in followed] == [(FOLLOWED, 1)]


def test_one_that_was_undone_is_followed_no_longer():
    days = history(14)
    book, _, settings = applied_after(days)
    days.append(container_day(14, **settings))
    read(book, days)
    days += [container_day(15), container_day(16)]
    assert states(read(book, days)) == ["superseded", "open"]


def test_the_same_one_again_after_it_was_undone_is_open_and_stays_so():
    days = history(14)
    book, first, settings = applied_after(days)
    read(book, [*days, container_day(14, **settings)])
    superseded, again = read(book, days, START + 16 * DAY)
    assert (superseded.state, again.state, again.id) == ("superseded", "open", first.id)
    assert read(book, days, START + 17 * DAY) == []


def test_a_book_that_starts_again_says_nothing_twice():
    days = history(14)
    book, first, settings = applied_after(days)
    days.append(container_day(14, **settings))
    applied, fresh = read(book, days)
    assert read(RecommendationBook([fresh, first, applied]), days) == []


def test_what_is_gone_is_superseded_once():
    book = RecommendationBook()
    (first,) = read(book, history(14))
    (gone,) = book.retire(LEGACY, START)
    assert (gone.id, gone.state) == (first.id, "superseded")
    book.note([gone])
    assert book.retire(LEGACY, START) == []


def test_what_was_not_noted_is_news_again():
    book, days = RecommendationBook(), history(14)
    fresh = recommend(LEGACY, days, days[-1].last, OPENCOST)
    assert book.read(fresh, days, OPENCOST) == book.read(fresh, days, OPENCOST) == [fresh]


def test_a_larger_limit_alone_is_no_news():
    book = RecommendationBook()
    read(book, history(14, memory_limit=4 * GIB))
    assert read(book, history(14, memory_limit=5 * GIB)) == []


def test_a_limit_that_need_not_be_raised_any_more_is_news():
    book = RecommendationBook()
    (first,) = read(book, history(14, memory=800 * MIB, memory_request=GIB // 2, memory_limit=850 * MIB))
    (again,) = read(book, history(14, memory=800 * MIB, memory_request=GIB // 2, memory_limit=5 * GIB))
    assert (first.id, "limits" in first.patch) == (again.id, True)
    assert (again.state, "limits" in again.patch) == ("open", False)
