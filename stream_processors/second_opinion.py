"""A second opinion on a spike, from a detector of pyod, in a process of its own.

pyod takes seconds to import and a hundred megabytes, and is asked a few times a day: so a process is started
for the question, and the worker goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import msgspec
import structlog

from spendstream.anomalies.outlier import opinion

__all__ = ["second_opinion"]

_log = structlog.get_logger(__name__)

_TIMEOUT_S = 60.0


async def second_opinion(values: Sequence[float]) -> float | None:
    """Return how severe the last of `values` is after the others; None if nobody can tell."""
    asking = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            answer, _ = await asking.communicate(msgspec.json.encode(values))
        return msgspec.json.decode(answer, type=float | None)
    except (TimeoutError, msgspec.DecodeError) as error:
        _log.warning("no second opinion", why=str(error) or "it took too long")
        return None
    finally:
        if asking.returncode is None:
            asking.kill()
            await asking.wait()


def main() -> None:
    """Read values from standard input, and write the opinion to standard output."""
    values = msgspec.json.decode(sys.stdin.buffer.read(), type=list[float])
    sys.stdout.buffer.write(msgspec.json.encode(opinion(values)))


if __name__ == "__main__":
    main()
