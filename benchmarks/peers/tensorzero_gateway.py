"""TensorZero's gateway, in Rust: as its Python package embeds it, since it is had without a container so.

The package serves on any free port, in threads of Rust; this process does nothing else.
"""

from __future__ import annotations

import signal
import sys

from openai import OpenAI
from tensorzero import patch_openai_client


def main() -> None:
    """Serve the configuration that the first argument names, until SIGTERM."""
    client = patch_openai_client(OpenAI(api_key="unused"), config_file=sys.argv[1], async_setup=False)
    print(f"gateway ready on {str(client.base_url).rstrip('/')}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
