"""The cloud: which devices there are, what they should run, who decided it."""
