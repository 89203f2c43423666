"""Orthomosaics: GeoTIFFs of any size, read in windows, and what is found put on the map."""
