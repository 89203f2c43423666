"""Pictures with exact masks that measure a model: cracks of known width on real surfaces."""
