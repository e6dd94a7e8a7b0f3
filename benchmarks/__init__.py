"""What the pipeline needs of time and memory. Not part of the tests: a benchmark takes minutes."""
