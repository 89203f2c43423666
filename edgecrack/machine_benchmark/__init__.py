"""Benchmarks each model, precision and backend on this machine."""
