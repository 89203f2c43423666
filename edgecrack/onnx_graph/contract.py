"""The interface of every model file: names, types and the operator set.

Imports nothing, so that whatever reads or writes such a file may import it.
"""

from __future__ import annotations

INPUT_NAME, OUTPUT_NAME = "tiles", "crack"
OPSET = 20  # the newest that TensorRT 10.3 of JetPack 6 parses; FP16 scales of Q/DQ pairs need 19
