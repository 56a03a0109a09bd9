"""What device and cloud say to each other: bounded messages over an encrypted, authenticated ZeroMQ connection."""
