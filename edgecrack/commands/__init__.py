"""One module per command of the command line, what they share, and how errors end them."""
