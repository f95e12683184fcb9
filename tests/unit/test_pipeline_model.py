"""Workers that crash, hang, and take over from each other leave what a batch job over the log would leave.

The model drives real workers (`Sources`, and in them processors and ledgers with few windows in memory) one
write at a time, so that every interleaving of two workers and a crash at every moment can come up. At every
settled point, when all that the log holds was acknowledged, it compares all that is stored with what the log
says by plain arithmetic: rows with their positions, every state of every window, latencies, dead letters.

Two things are not settled by the log alone, and the model asks for less there. A dead letter is sent at
least once. And an event that ClickHouse refuses, if it is sent twice, is buried once or twice, as its
deliveries shared a block or did not.
"""

from collections import Counter
from contextlib import ExitStack
from functools import partial
from random import Random
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from spendstream.errors import StoreUnavailable
from spendstream.ledger import Ledger
from spendstream.positions import place
from spendstream.store import Source
from spendstream.topics import USAGE_TOKENS
from stream_processors import processor
from stream_processors.metrics import WorkerMetrics
from stream_processors.sources import Sources
from tests.fixtures.accounting import windows
from tests.fixtures.partitions import BLANKS, Partition, fates, latencies
from tests.fixtures.stepping import Hand, PausingOffice, PausingStore

TOPIC = USAGE_TOKENS.name
PARTITIONS = range(3)
WORKERS = ("one", "two")
HORIZON = 60_000_000
WINDOWS_IN_MEMORY = 8

some_seed = st.integers(0, 2**16)
some_pauses = st.integers(1, 15) | st.integers(1, 120)
some_partition = st.sampled_from(PARTITIONS)
some_worker = st.sampled_from(WORKERS)
an_assignment = st.tuples(*[some_worker for _ in PARTITIONS])


def some_lines(rnd):
    """Return the lines of a record: mostly events, of which many were sent before; or None for no value."""
    if rnd.random() < 0.03:
        return None
    return [
        rnd.randrange(50) if rnd.random() < 0.93 else rnd.choice(list(BLANKS))
        for _ in range(rnd.choice((1, 1, 2, 4)))
    ]


class Workers(RuleBasedStateMachine):
    """A consumer group of two workers on one topic, and the log that they read."""

    def __init__(self):
        super().__init__()
        self.changed = ExitStack()
        self.changed.enter_context(capture_logs())
        few_windows = partial(Ledger, capacity=WINDOWS_IN_MEMORY)
        self.changed.enter_context(mock.patch.object(processor, "Ledger", few_windows))
        self.fails_in = 0
        self.store = PausingStore(self.strike)
        self.office = PausingOffice()
        self.metrics = WorkerMetrics(CollectorRegistry())
        self.incarnations = [[Partition(number) for number in PARTITIONS]]
        self.is_new = False
        self.committed = [0 for _ in PARTITIONS]
        self.acknowledged = [0 for _ in PARTITIONS]
        self.generation = 0
        self.known_generation = dict.fromkeys(WORKERS, 0)
        self.owners = [WORKERS[0] for _ in PARTITIONS]
        self.positions = [0 for _ in PARTITIONS]
        self.sources = {name: self.worker() for name in WORKERS}
        self.lanes = {}

    def teardown(self):
        try:
            self.settle(last=False)
        finally:
            for lane in self.lanes.values():
                for hand, *_ in lane:
                    hand.crash()
            self.changed.close()

    def strike(self, _operation):
        self.fails_in -= 1
        if self.fails_in == 0:
            raise StoreUnavailable("struck", retry_after=0)

    def worker(self):
        async def incarnation(_topic):
            return str(len(self.incarnations))

        return Sources(self.store, self.office, self.metrics, incarnation, horizon=HORIZON)

    @property
    def log(self):
        return self.incarnations[-1]

    @property
    def ends(self):
        return [partition.end for partition in self.log]

    # What happens

    @initialize(seeds=st.tuples(*[some_seed for _ in PARTITIONS]))
    def begin(self, seeds):
        for number, seed in enumerate(seeds):
            self.publish(number, seed, 12)

    @rule(number=some_partition, seed=some_seed, records=st.integers(1, 12))
    def publish(self, number, seed, records):
        rnd = Random(seed)
        for _ in range(records):
            self.log[number].append(some_lines(rnd), gap=rnd.choice((0, 0, 2)))

    @rule(number=some_partition, most=st.integers(1, 12), pauses=some_pauses)
    def work(self, number, most, pauses):
        """Let the owner of a partition fetch, and go on for a while with the oldest block in that lane."""
        self.fetch(number, most)
        self.go_on(self.owners[number], number, pauses)

    @rule(choice=st.integers(0, 5), pauses=some_pauses)
    def linger(self, choice, pauses):
        """Let any worker go on, be its partition another's by now or not."""
        if busy := sorted(place for place, lane in self.lanes.items() if lane):
            self.go_on(*busy[choice % len(busy)], pauses)

    @rule()
    def commit(self):
        self.committed = list(self.acknowledged)

    @rule(rows=st.integers(1, 20))
    def fail(self, rows):
        self.fails_in = rows

    @rule(worker=some_worker, owners=an_assignment)
    def crash(self, worker, owners):
        for number in PARTITIONS:
            for hand, *_ in self.lanes.pop((worker, number), ()):
                hand.crash()
        self.sources[worker] = self.worker()
        self.rebalance(owners)

    @rule(owners=an_assignment)
    def rebalance(self, owners):
        """Share out anew. Who lost a partition does not know yet, and goes on with what it has in hand."""
        self.generation += 1
        self.owners = list(owners)
        self.positions = list(self.committed)
        self.acknowledged = list(self.committed)

    @rule(number=some_partition, share=st.floats(0, 1), owners=an_assignment)
    def forget_commits(self, number, share, owners):
        self.committed[number] = int(share * self.committed[number])
        self.rebalance(owners)

    @rule(last=st.booleans())
    def settle(self, last):
        """Land all that the log holds, zombies first or last, and compare."""
        if not last:
            self.finish(WORKERS)
        if self.is_new:
            self.is_new = False
            for worker in WORKERS:
                self.crash(worker, self.owners)  # each sees once a second that the topic is another one
        while self.acknowledged != self.ends:
            for number in PARTITIONS:
                self.fetch(number, 5)
                self.finish([self.owners[number]])
        self.finish(WORKERS)
        self.commit()
        self.compare()

    @precondition(lambda self: len(self.incarnations) < 3)
    @rule(last=st.booleans(), seed=some_seed, records=st.integers(0, 40))
    def recreate(self, last, seed, records):
        """Delete the topic when all has landed, and make it anew. Consumers go on from their old offsets."""
        self.settle(last=last)
        self.is_new = True
        self.incarnations.append([Partition(number) for number in PARTITIONS])
        self.committed = [0 for _ in PARTITIONS]
        self.acknowledged = [0 for _ in PARTITIONS]
        for number in PARTITIONS:
            self.publish(number, seed + number, records)

    # How it goes on

    def fetch(self, number, most):
        block = self.log[number].block(self.positions[number], most)
        if block is None:
            return
        worker = self.owners[number]
        self.known_generation[worker] = self.generation
        work = self.sources[worker].process(TOPIC, number, self.generation, block)
        self.lanes.setdefault((worker, number), []).append((Hand(work), self.generation, block.last + 1))
        self.positions[number] = block.last + 1

    def go_on(self, worker, number, pauses):
        for _ in range(pauses):
            if not self.step(worker, number):
                return

    def finish(self, workers):
        for worker in workers:
            for number in PARTITIONS:
                while self.step(worker, number):
                    pass

    def step(self, worker, number):
        """Go on with the oldest block in a lane; return False if there is none, or its worker has ended."""
        lane = self.lanes.get((worker, number))
        if not lane:
            return False
        hand, generation, end = lane[0]
        if not hand.begun and generation != self.known_generation[worker]:
            lane.pop(0)  # as `land` leaves it alone
            hand.crash()
            return True
        try:
            done = hand.step()
        except RuntimeError:
            lane.pop(0)
            self.crash(worker, self.owners)
            return False
        if done:
            lane.pop(0)
            if generation == self.generation:
                self.acknowledged[number] = end
        return True

    # What is compared

    def compare(self):
        expected = {}  # the first delivery of each event: its source and position
        lines = []
        for age, incarnation in enumerate(self.incarnations, 1):
            for partition in incarnation:
                source = Source("tokens", TOPIC, partition.number, str(age)).name
                for fate in fates(partition):
                    lines.append((partition.number, fate))
                    if not fate.stage:
                        expected.setdefault(fate.event.id, (source, fate.position, fate.event))
        self.compare_rows(expected)
        self.compare_windows(expected)
        self.compare_letters(lines)

    def compare_rows(self, expected):
        stored = {
            entry.event.id: (source, entry.position, entry.event)
            for source, entry in self.store._rows.values()
        }
        assert stored == expected

    def compare_windows(self, expected):
        by_source = {}
        for source, position, event in expected.values():
            by_source.setdefault(source, {})[position] = event
        states = self.store.states()
        assert {place: state.measures for place, state in states.items()} == {
            (source, key): measures
            for source, events in by_source.items()
            for key, measures in windows(events.values()).items()
        }
        for source, events in by_source.items():
            for position in events:
                for key in windows([events[position]]):
                    assert states[source, key].version >= position
            waits = {key: Counter(state.latency) for (name, key), state in states.items() if name == source}
            assert {key: counts for key, counts in waits.items() if counts} == latencies(
                list(events.values())
            )
        assert {state.version for state in states.values()} <= {place for _, place, _ in expected.values()}

    def compare_letters(self, lines):
        def letters(stages):
            return {
                (letter.partition, letter.offset, letter.line, letter.stage, letter.value)
                for letter in self.office.letters
                if letter.stage in stages
            }

        def due(stages):
            return {
                (number, *place(fate.position), fate.stage, fate.value)
                for number, fate in lines
                if fate.stage in stages
            }

        assert letters({"decode", "validate"}) == due({"decode", "validate"})
        assert letters({"land"}) <= due({"land"})
        assert {letter[-1] for letter in letters({"land"})} == {letter[-1] for letter in due({"land"})}


TestWorkers = Workers.TestCase
TestWorkers.settings = settings(max_examples=40, stateful_step_count=30, derandomize=True)
