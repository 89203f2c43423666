"""How several models compare: numbers, curves, and the images on which they differ."""
