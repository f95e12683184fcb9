"""The audit log: sealed so that tampering shows, on disk before an admin's change, and bounded."""

from __future__ import annotations

import asyncio
import json
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import audit
from gateway.audit import AuditLog, audit_lines
from spendstream.audit import BEGINNING, Chain, Findings, read_line, verify
from spendstream.errors import AlreadyRunning, ConfigError, TransientError

NOW = 1_795_000_000_000_000
SECRET = "of the server"


def lines(count: int = 5, secret: str = SECRET) -> list[bytes]:
    chain = Chain(secret)
    return [chain.line(NOW + n, "key_refused", {"key_id": f"k{n}"}) for n in range(count)]


def findings(found: list[bytes], secret: str = SECRET) -> Findings:
    return verify(((str(n), line) for n, line in enumerate(found, 1)), secret)


def log_in(folder: Path, **options: int) -> AuditLog:
    log = AuditLog(folder / "audit", SECRET, lambda: NOW, **options)
    log.open()
    return log


def files(folder: Path) -> list[Path]:
    return sorted((folder / "audit").iterdir())


def kept(folder: Path) -> Findings:
    return verify(audit_lines(folder / "audit"), SECRET)


class TestChain:
    @pytest.mark.parametrize("secret", [SECRET, ""])
    def test_an_entry_says_what_happened_and_what_was_before_it(self, secret: str) -> None:
        first, second = map(read_line, lines(2, secret))
        assert first.fields == {
            "n": 1,
            "at": "2026-11-18T11:06:40.000000Z",
            "kind": "key_refused",
            "key_id": "k0",
        }
        assert (first.previous, second.previous) == (BEGINNING, first.seal)
        found = findings(lines(2, secret), secret)
        assert (found.mistakes, found.entries, found.unkeyed) == ([], 2, 0 if secret else 2)

    @given(st.integers(0, 4), st.data())
    def test_any_byte_that_is_changed_shows(self, place: int, data: st.DataObject) -> None:
        found = lines()
        line = bytearray(found[place])
        at = data.draw(st.integers(0, len(line) - 1))
        line[at] ^= data.draw(st.integers(1, 255))
        found[place] = bytes(line)
        assert findings(found).mistakes

    @given(st.permutations(range(5)), st.sets(st.integers(0, 4)))
    def test_entries_that_are_moved_or_missing_show_unless_they_are_the_first_or_last(
        self, order: list[int], left_out: set[int]
    ) -> None:
        every = lines()
        rest = [place for place in order if place not in left_out]
        whole = rest == list(range(rest[0], rest[0] + len(rest))) if rest else True
        assert bool(findings([every[place] for place in rest]).mistakes) is not whole

    def test_an_entry_that_is_written_twice_shows(self) -> None:
        every = lines()
        assert findings([*every[:3], every[2], *every[3:]]).mistakes

    def test_who_lacks_the_secret_cannot_go_on_with_the_chain(self) -> None:
        every = lines()
        last = read_line(every[-1])
        for forger in ("a guess", ""):
            forged = Chain(forger, n=last.n, previous=last.seal).line(NOW, "call", {})
            assert len(findings([*every, forged]).mistakes) == 1

    def test_sealed_entries_cannot_be_verified_without_the_secret(self) -> None:
        assert "key_secret" in findings(lines(1), "").mistakes[0]

    @given(st.binary())
    def test_what_is_no_entry_is_told_and_not_raised(self, junk: bytes) -> None:
        assert findings([junk]).mistakes


class TestLog:
    async def test_what_is_recorded_is_on_disk_for_its_owner_alone(self, tmp_path: Path) -> None:
        log = log_in(tmp_path)
        await log.record("key_created", {"id": "k1"})
        [path] = files(tmp_path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert json.loads(path.read_text())["kind"] == "key_created"
        await log.close()

    async def test_what_is_noted_comes_in_order_and_outlives_the_process(self, tmp_path: Path) -> None:
        for life in range(3):
            log = log_in(tmp_path)
            for number in range(100):
                log.note("call", {"life": life, "number": number})
            await log.close()
        found = [read_line(line).fields for _, line in audit_lines(tmp_path / "audit")]
        assert [(it["life"], it["number"]) for it in found] == [(a, b) for a in range(3) for b in range(100)]
        assert kept(tmp_path).mistakes == []

    async def test_a_file_that_is_full_is_followed_by_another_and_the_chain_goes_on(
        self, tmp_path: Path
    ) -> None:
        log = log_in(tmp_path, max_bytes=1000)
        for number in range(20):
            await log.record("call", {"number": number})
        await log.close()
        assert len(files(tmp_path)) > 3
        assert all(path.stat().st_size < 1400 for path in files(tmp_path))
        assert (kept(tmp_path).mistakes, kept(tmp_path).entries) == ([], 20)

    async def test_a_line_that_a_crash_tore_is_cut_off_and_the_log_goes_on(self, tmp_path: Path) -> None:
        log = log_in(tmp_path)
        await log.record("call", {})
        await log.record("call", {})
        await log.close()
        [path] = files(tmp_path)
        path.write_bytes(path.read_bytes()[:-30])
        again = log_in(tmp_path)
        await again.record("call", {})
        await again.close()
        assert (kept(tmp_path).mistakes, kept(tmp_path).entries) == ([], 2)

    async def test_a_log_that_was_spoilt_is_left_as_it_is_and_verification_tells(
        self, tmp_path: Path
    ) -> None:
        log = log_in(tmp_path)
        await log.record("call", {})
        await log.close()
        [path] = files(tmp_path)
        path.write_bytes(b"nothing\n")
        again = log_in(tmp_path)
        await again.record("call", {})
        await again.close()
        assert path.read_bytes() == b"nothing\n"
        assert kept(tmp_path).mistakes

    async def test_while_the_disk_is_full_no_change_is_recorded_and_what_was_lost_is_told_after(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        log = log_in(tmp_path)
        await log.record("call", {"number": 1})
        with monkeypatch.context() as disk:
            disk.setattr(audit, "_write", _fails)
            with pytest.raises(TransientError, match="audit log cannot be written: No space"):
                await log.record("call", {"number": 2})
        await log.record("call", {"number": 3})
        await log.close()
        found = [read_line(line).fields for _, line in audit_lines(tmp_path / "audit")]
        assert [(it["kind"], it.get("number", it.get("count"))) for it in found] == [
            ("call", 1), ("call", 3), ("entries_lost", 1),
        ]  # fmt: skip
        assert kept(tmp_path).mistakes == []

    async def test_a_flood_is_bounded_and_what_is_lost_of_it_is_counted(self, tmp_path: Path) -> None:
        log = log_in(tmp_path)
        for number in range(audit._MOST_WAITING + 5):
            log.note("call", {"number": number})
        await log.close()
        last = kept(tmp_path).last
        assert last is not None
        assert (last.fields["kind"], last.fields["count"]) == ("entries_lost", 5)

    async def test_many_can_record_at_once(self, tmp_path: Path) -> None:
        log = log_in(tmp_path)
        await asyncio.gather(*(log.record("call", {"number": n}) for n in range(200)))
        assert kept(tmp_path).entries == 200
        await log.close()

    async def test_a_log_has_one_writer(self, tmp_path: Path) -> None:
        log = log_in(tmp_path)
        with pytest.raises(AlreadyRunning, match="audit log"):
            log_in(tmp_path)
        await log.close()
        await log_in(tmp_path).close()

    def test_a_place_where_no_log_can_be_is_a_bad_setting(self, tmp_path: Path) -> None:
        (tmp_path / "audit").write_text("")
        with pytest.raises(ConfigError, match="cannot keep the audit log"):
            log_in(tmp_path)


def _fails(fd: int, data: bytes) -> None:
    del fd, data
    raise OSError(28, "No space left on device")
