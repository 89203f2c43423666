"""The yardstick: pictures with known truth, sorted into strata, that no model was trained on."""
