"""What a crack measures: its centre lines, in pixels. Knows arrays only, no frames or files."""
