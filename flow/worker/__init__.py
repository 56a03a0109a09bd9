"""A worker: one lane of the plan in a process or thread of its own."""
