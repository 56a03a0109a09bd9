"""What a device keeps: content-addressed blobs, generations of desired states, and one database that says what is true."""
