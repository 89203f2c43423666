"""Memory and streams of a GPU through whichever Python binding is installed."""
