"""Each crack once while a stream runs, and what a survey needs of it."""
