"""Cracks in still images and orthomosaics: which are meant, what is found, what is written."""
