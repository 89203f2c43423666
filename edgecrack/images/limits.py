"""The largest picture that is read unless a user says otherwise; imports nothing."""

# As much as a frame of any camera and most mosaics has; the picture and its maps take some 8 bytes
# a pixel.
DEFAULT_MEGAPIXELS = 250.0
