"""What all sources take for possible of a camera."""

MAX_FRAME_RATE_HZ = 1000.0
# A live source that nobody read for so long has old frames waiting in its buffers.
STALE_AFTER_S = 0.2
