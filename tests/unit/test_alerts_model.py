"""Evaluators that crash and take over from each other say what one that is never interrupted says.

Spend arrives through real processors that crash in the middle of their writes; budgets are looked at by
evaluators that do so, too: while they ask, between two alerts of one look, before ClickHouse has what they
said, and while another one looks as well. Beside them, one evaluator that sees the same windows looks every
minute and never stops.

What they must agree on in the end: which thresholds of which calendar periods were reached, that each was
said to fire and, when its period was over, to have ended. All of that follows from the spend alone, as long
as nobody is missing for an hour, and spend comes no later than some minutes after its period's end. What is
said at what moment does not: the amounts in an alert's words, and alerts that can end again while nobody
looks (burn rates, forecasts, rolling periods). That each alert is said once is not promised either; saying
it again changes nothing, since it is the same alert by id, episode and state.
"""

from random import Random
from types import SimpleNamespace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from prometheus_client import CollectorRegistry

from spendstream.alerts import AlertBook
from spendstream.budgets import Budget, BudgetBook, Calendar
from spendstream.codec import TOKENS
from spendstream.errors import BrokerUnavailable
from spendstream.events import TokenUsage
from spendstream.ids import derived_id
from spendstream.money import PICO
from spendstream.store import Source
from stream_processors.evaluator import Evaluator
from stream_processors.metrics import WorkerMetrics
from stream_processors.processor import RecordBlock, SourceProcessor
from tests.fixtures.landed_spend import LandedSpend, SpendView
from tests.fixtures.stepping import Hand, PausingOffice, pause

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
START = 1_800_000_000 * SECOND // (24 * HOUR) * 24 * HOUR + 22 * HOUR  # two hours before midnight, UTC
MOST_MISSED = 40 * MINUTE
MOST_LAG = 5 * MINUTE
PARTITIONS = (0, 1)
TEAMS = ("a", "b", "c")


def budget(name, usd, unit, scope=None, **more):
    return Budget(
        id=name, name=name, amount=usd * PICO, period=Calendar(unit=unit, **more), scope=scope or {},
        burn_rate=False, forecast=False,
    )  # fmt: skip


BUDGETS = BudgetBook(
    [
        budget("a", 20, "day", {"team": "a"}),
        budget("b", 10, "day", {"team": "b"}, time_zone="Europe/Paris"),
        budget("all", 60, "week"),
        budget("month", 90, "month", {"model": "m"}),
    ]
)


class Budgets:
    async def book(self):
        return BUDGETS

    async def close(self):
        pass


class Evaluators(RuleBasedStateMachine):
    """Spend that arrives, one evaluator that never stops, and two that do."""

    def __init__(self):
        super().__init__()
        self.now = START
        self.row = 0
        self.logs = [[] for _ in PARTITIONS]
        self.done = [0 for _ in PARTITIONS]
        self.spend = LandedSpend()
        self.workers = [self.worker(number) for number in PARTITIONS]
        self.landing = [None for _ in PARTITIONS]

        self.alone = SpendView(self.spend)
        self.never_stops = Evaluator(Budgets(), self.alone, self.publish_alone)

        self.shared = SpendView(self.spend)
        self.said = []
        self.landed = 0  # of what was said; ClickHouse has that much
        self.kafka_away = False
        self.evaluators = [self.evaluator(), self.evaluator()]
        self.looking = [None, None]
        self.owner = 0
        self.looked = START

    def worker(self, number):
        source = Source("tokens", "usage.tokens", number, "one")
        metrics = WorkerMetrics(CollectorRegistry())
        return SourceProcessor(source, TOKENS, self.spend, PausingOffice(), metrics, horizon=HOUR)

    def evaluator(self):
        return Evaluator(Budgets(), self.shared, self.publish)

    async def publish_alone(self, news):
        self.alone.told.extend(news)

    async def publish(self, news):
        for alert in news:
            await pause()
            if self.kafka_away:
                self.kafka_away = False
                raise BrokerUnavailable("away")
            self.said.append(alert)

    # Spend

    @rule(seed=st.integers(0, 2**16), number=st.sampled_from(PARTITIONS), calls=st.integers(1, 4))
    def spend_money(self, seed, number, calls):
        """Make some calls, the oldest of which ended ten minutes ago; most are small."""
        rnd = Random(seed)
        for _ in range(calls):
            self.row += 1
            time = self.now - rnd.choice((0, 0, 5, 90, 600)) * SECOND
            event = TokenUsage(
                id=derived_id(time, b"alerts", self.row), event_time=time, source="test", model="m",
                team=rnd.choice(TEAMS), cost=rnd.choice((1, 1, 2, 6)) * PICO,
            )  # fmt: skip
            value, log = TOKENS.encode(event), self.logs[number]
            log.append(SimpleNamespace(offset=len(log), timestamp=self.now // 1000, key=b"k", value=value))

    @rule(number=st.sampled_from(PARTITIONS), most=st.integers(1, 5), pauses=st.integers(1, 40))
    def land(self, number, most, pauses):
        for _ in range(pauses):
            if not self.land_on(number, most):
                return

    @rule(number=st.sampled_from(PARTITIONS))
    def crash_worker(self, number):
        """Die in the middle of a write. What was half written comes again, in blocks of other bounds."""
        if self.landing[number]:
            self.landing[number][0].crash()
        self.landing[number] = None
        self.workers[number] = self.worker(number)

    def land_old(self, number):
        while any(
            self.now - record.timestamp * 1000 >= MOST_LAG
            for record in self.logs[number][self.done[number] :]
        ):
            self.land_on(number, 5)

    def land_on(self, number, most):
        if self.landing[number] is None:
            records = self.logs[number][self.done[number] :][:most]
            if not records:
                return False
            self.landing[number] = Hand(self.process(number, records)), records[-1].offset + 1
        hand, end = self.landing[number]
        if hand.step():
            self.landing[number] = None
            self.done[number] = end
        return True

    async def process(self, number, records):
        worker = self.workers[number]
        if worker.next_offset == 0:
            await worker.recover()
        await worker.process(RecordBlock(first=records[0].offset, last=records[-1].offset, records=records))

    # Looks

    @rule(minutes=st.integers(1, 8) | st.integers(1, 150))
    def pass_time(self, minutes):
        """Let time pass; what came some minutes ago lands, and nobody is missing for longer than allowed."""
        for _ in range(minutes):
            self.now += MINUTE
            for number in PARTITIONS:
                self.land_old(number)
            self.look_alone()
            if self.now - self.looked >= MOST_MISSED:
                self.finish_look()

    @rule(who=st.sampled_from((0, 1)), pauses=st.integers(1, 30))
    def look(self, who, pauses):
        for _ in range(pauses):
            if self.look_on(who):
                return

    @rule()
    def take_over(self):
        """Let the other one evaluate. Who did so until now says what it has in mind, and then rests."""
        self.owner = 1 - self.owner

    @rule(who=st.sampled_from((0, 1)))
    def crash_evaluator(self, who):
        if self.looking[who]:
            self.looking[who][0].crash()
        self.looking[who] = None
        self.evaluators[who] = self.evaluator()

    @rule()
    def lose_kafka(self):
        self.kafka_away = True

    @rule(share=st.floats(0, 1))
    def store_alerts(self, share):
        self.landed += round(share * (len(self.said) - self.landed))
        self.shared.told = self.said[: self.landed]

    def look_alone(self):
        looking = Hand(self.never_stops.look(self.now))
        while not looking.step():
            pass

    def look_on(self, who):
        """Go on with a look, or begin one; return whether there is no more to do."""
        if self.looking[who] is None:
            if who != self.owner:
                self.evaluators[who].rest()
                return True
            self.looking[who] = Hand(self.evaluators[who].look(self.now)), self.now
        hand, began = self.looking[who]
        try:
            done = hand.step()
        except BrokerUnavailable:
            self.looking[who] = None
            return False
        if done:
            self.looking[who] = None
            self.looked = max(self.looked, began)
        return done

    def finish_look(self):
        """Look to the end, and for a second time at this moment's spend."""
        for _ in range(2):
            while not self.look_on(self.owner):
                pass

    # What is compared

    def teardown(self):
        """Let all land and more than a month pass, and compare all that was ever said."""
        self.pass_time(120)
        for _ in range(40):
            self.now += 24 * HOUR
            self.look_alone()
            self.finish_look()
        for who in (0, 1):
            self.crash_evaluator(who)
        assert told(self.said) == told(self.alone.told)
        assert all(alert.state == "resolved" for alert in AlertBook(self.said)._newest.values())


def told(alerts):
    return {(alert.rule, alert.window, alert.id, alert.version, alert.state) for alert in alerts}


TestEvaluators = Evaluators.TestCase
TestEvaluators.settings = settings(max_examples=25, stateful_step_count=30, derandomize=True)
