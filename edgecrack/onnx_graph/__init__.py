"""A model's ONNX graph: its interface, its precision, how it is run and tidied."""
