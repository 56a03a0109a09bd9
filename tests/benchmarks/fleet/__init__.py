"""A simulated fleet: the real server, and processes that hold thousands of devices each."""
