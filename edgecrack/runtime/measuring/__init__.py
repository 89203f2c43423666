"""Lengths and widths while a stream runs: the scale of each frame, the thread, the records."""
