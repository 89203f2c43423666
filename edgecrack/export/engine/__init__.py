"""TensorRT engines: targets, building and verification."""
