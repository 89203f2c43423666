"""What runs a model file: ONNX Runtime on the CPU, TensorRT on the GPU."""
