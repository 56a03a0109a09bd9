"""The device's end of the channel: what is wanted comes in, what is goes out, and nothing waits for the network."""
