"""Write Grafana's JSON; with `--check`, fail when it is not up to date."""

from __future__ import annotations

import sys

from dashboards.catalogue import DASHBOARDS
from dashboards.grafana.rendering import FOLDER, files


def main(arguments: list[str]) -> int:
    """Return the exit code."""
    wanted = files(DASHBOARDS)
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += set(FOLDER.glob("*.json")) - set(wanted)
    if arguments == ["--check"]:
        for path in stale:
            sys.stderr.write(f"{path.name} is not what the panels say: run `make dashboards`\n")
        return int(bool(stale))
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        if path in wanted:
            path.write_text(wanted[path], "utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
