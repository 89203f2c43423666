"""INT8 calibration. Holds nothing yet: this version runs FP32 models only."""
