"""Make the README's pictures: the console on a replayed trace and on the two simulated phases.

    python docs/pictures.py path/to/azure-llm-2023

The folder holds an hour of a real model service, AzureLLMInferenceTrace_conv.csv.gz and _code.csv.gz, from
https://github.com/Azure/AzurePublicDataset. Needs Chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent / "pictures"
TRACES = {"conv": ("assistant", "gpt-4"), "code": ("engineering", "gpt-3.5-turbo")}
HOUR = "from=2023-11-16T18:10&to=2023-11-16T19:20"
WEEKS = "from=2026-01-05T00:00&to=2026-01-19T00:00"
PAGES = {
    "overview": f"overview?{HOUR}",
    "ai-spend": f"ai-spend?{HOUR}",
    "kubernetes": f"kubernetes?{WEEKS}",
    "optimisation": "optimisation",
}
SETTLED = "#rows:not([aria-busy])"
WIDE = {"width": 1280, "height": 900}


def main(traces: Path) -> None:
    """Play, replay, and take the pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        _spendstream(Path(folder), "simulate")
        data = Path(folder) / "simulation"
        for name, (team, model) in TRACES.items():
            trace = traces / f"AzureLLMInferenceTrace_{name}.csv.gz"
            whose = ("--team", team, "--model", model, "--environment", "production")
            _spendstream(data, "replay", str(trace), "--format", "azure-llm", "--wait", *whose)
        with _console(data) as address:
            _take(address)


def _environment(data: Path) -> dict[str, str]:
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("SPENDSTREAM_")}
    return {**inherited, "SPENDSTREAM_DATA_DIR": str(data)}


def _spendstream(data: Path, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "spendstream", *arguments], env=_environment(data), check=True)


@contextmanager
def _console(data: Path) -> Iterator[str]:
    """Run the pipeline on what was played; give the address of its console."""
    command = [sys.executable, "-m", "spendstream", "up", "--no-load"]
    with subprocess.Popen(command, env=_environment(data), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield next(line.split()[1] for line in process.stdout if line.split()[:1] == ["console"])
        finally:
            process.terminate()


def _take(address: str) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE, reduced_motion="reduce")
        for name, place in PAGES.items():
            page.goto(f"{address}/{place}")
            page.wait_for_selector(SETTLED)
            page.screenshot(path=PICTURES / f"{name}.png", full_page=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
