"""NVIDIA's GPU: which there is, its memory, TensorRT, and what an engine file says."""
