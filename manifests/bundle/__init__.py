"""One file with everything that businesses need, and the documents in it."""
