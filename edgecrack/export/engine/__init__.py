"""TensorRT engines: for which machine, how they are built, whether they are what was asked."""
