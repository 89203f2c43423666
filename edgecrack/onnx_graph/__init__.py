"""A model's ONNX graph: reading, running, precision and tidying."""
