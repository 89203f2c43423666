"""The yardstick: pictures with known ground truth, by stratum, that no model was trained on."""
