"""`spendstream keys` and `spendstream audit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from gateway.audit import AuditLog
from spendstream.cli import main
from spendstream.config import load
from spendstream.keys import KeyHasher, KeyRing

SECRET = "of the server, and long enough for one"


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDSTREAM_KEY_SECRET", SECRET)
    monkeypatch.setenv("SPENDSTREAM_DATA_DIR", str(tmp_path))


def create(*arguments: str) -> None:
    main(["keys", "create", *arguments])


def test_the_table_that_is_printed_makes_the_key_that_is_printed_open(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create("k1", "--team", 'sea"rch', "--model", "gpt-4*", "--api", "chat", "--days", "30")
    said = capsys.readouterr()
    [key] = [line.strip() for line in said.err.splitlines() if line.strip().startswith("sk-spend-k1-")]
    assert key not in said.out
    path = tmp_path / "spendstream.toml"
    path.write_text(said.out)
    [found] = load({"SPENDSTREAM_KEY_SECRET": SECRET}, path).api_keys
    assert (found.team, found.models, found.apis) == ('sea"rch', ("gpt-4*",), ("chat",))
    assert found.expires_at is not None
    assert found.created_at is not None
    assert (found.expires_at - found.created_at).days == 30
    assert KeyRing(KeyHasher(SECRET), [found]).check(key.encode(), 0).why == ""


@pytest.mark.parametrize(
    ("arguments", "why"), [(("Not-An-Id", "--team", "x"), "id"), (("k1", "--team", ""), "team")]
)
def test_a_key_that_cannot_be_is_one_line(
    arguments: tuple[str, ...], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        create(*arguments)
    assert caught.value.code == 2
    assert why in capsys.readouterr().err


def test_without_a_secret_no_key_is_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPENDSTREAM_KEY_SECRET")
    with pytest.raises(SystemExit):
        create("k1", "--team", "search")
    assert "openssl rand" in capsys.readouterr().err


def audit(*arguments: str) -> None:
    main(["audit", *arguments])


async def _log(folder: Path) -> None:
    log = AuditLog(folder / "audit", SECRET, lambda: 0)
    log.open()
    for number in range(3):
        await log.record("key_refused", {"key_id": f"k{number}"})
    await log.close()


async def test_an_untouched_log_holds_together_and_is_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _log(tmp_path)
    audit("verify")
    assert capsys.readouterr().out.startswith("3 entries hold together; the last is 3, sealed ")
    audit("list", "--last", "2", "--json")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["key_id"] for line in lines] == ["k1", "k2"]
    audit("list")
    assert "1970-01-01T00:00:00.000000Z key_refused key_id=k0" in capsys.readouterr().out


async def test_a_log_that_was_tampered_with_is_told_by_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    await _log(tmp_path)
    [path] = (tmp_path / "audit").iterdir()
    path.write_bytes(path.read_bytes().replace(b"k1", b"k9"))
    with pytest.raises(SystemExit) as caught:
        audit("verify")
    assert caught.value.code == 1
    assert "audit-00000001.jsonl:2: entry 2 was changed" in capsys.readouterr().err


def test_a_log_that_is_empty_holds_together(capsys: pytest.CaptureFixture[str]) -> None:
    audit("verify")
    assert capsys.readouterr().out == "the audit log is empty\n"
