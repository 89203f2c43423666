"""GPU memory and streams through any installed Python binding."""
