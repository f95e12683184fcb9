"""Machines of a trace are read as they are, and their days are those that samples would make."""

import json
from functools import reduce
from pathlib import Path

from benchmarks.machines import load
from benchmarks.rightsizing import main
from spendstream.rightsizing.days import NANO, ContainerDay, day_of
from tests.fixtures.containers import GIB, sample

HEADER = "vm,timestamp_s,cpu_cores,cpu_capacity_mhz,cpu_usage_mhz,memory_capacity_kb,memory_usage_kb\n"
START_S = 1_728_000_000  # a midnight


def row(machine: int, place: int, mhz: float = 260.0, used: int = 1 << 19, cores: int = 2) -> str:
    return f"{machine},{START_S + place * 300},{cores},5200.0,{mhz},{2 << 20},{used}\n"


def trace(folder: Path, *rows: str) -> Path:
    path = folder / "machines.csv"
    path.write_text(HEADER + "".join(rows))
    return path


def test_machines_are_told_apart_and_in_order_of_time(tmp_path: Path) -> None:
    zero, one = load(trace(tmp_path, row(1, 1), row(0, 0), row(1, 0)))
    assert [(each.name, len(each.times)) for each in (zero, one)] == [("0", 1), ("1", 2)]
    assert one.times.tolist() == [START_S, START_S + 300]
    assert one.cpu.tolist() == [NANO / 10, NANO / 10]
    assert (one.settings.cpu_request, one.settings.memory_request) == (2 * NANO, 2 * GIB)


def test_days_are_those_that_samples_would_make(tmp_path: Path) -> None:
    (machine,) = load(trace(tmp_path, *(row(0, place, used=(place + 1) << 18) for place in range(5))))
    (day,) = machine.days()
    samples = [
        sample(0, event_time=start, end_time=start + 300 * 10**6, cpu_usage=NANO // 10, memory_usage=used)
        for start, used in (((START_S + 300 * place) * 10**6, (place + 1) << 28) for place in range(5))
    ]
    expected = reduce(ContainerDay.plus, map(day_of, samples))
    assert day[:6] == expected[:6]


def test_what_is_taken_away_leaves_the_last_that_was_provisioned(tmp_path: Path) -> None:
    (machine,) = load(trace(tmp_path, row(0, 0), row(0, 1, cores=0, mhz=0.0)))
    assert machine.settings.cpu_request == 2 * NANO


def test_the_benchmark_judges_what_comes_after_what_it_knows(tmp_path: Path, capsys) -> None:
    places = [288 * day + hour * 12 for day in range(30) for hour in range(24)]
    steady = [row(0, place, used=1 << 18) for place in places]
    grown = [row(1, place, used=1 << (17 if place < 288 * 15 else 20)) for place in places]
    assert main(["--json", "--trace", str(trace(tmp_path, *steady, *grown))]) == 0
    report = json.loads(capsys.readouterr().out)
    exceeding = {policy["policy"]: policy["exceeding_memory"] for policy in report["policies"]}
    assert exceeding == {"provisioned": 0, "vpa": 1, "krr": 1, "p95/.65": 1, "ours": 1}


def test_too_few_machines_are_told(tmp_path: Path, capsys) -> None:
    assert main(["--trace", str(trace(tmp_path, row(0, 0), row(0, 600)))]) == 1
    assert "too few: 1" in capsys.readouterr().err
