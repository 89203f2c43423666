"""Finds cracks in still images and orthomosaics: inputs, detection, results."""
