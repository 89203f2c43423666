"""INT8 calibration: ranges from tiles, a Q/DQ file, and the accuracy gate that it must pass."""
