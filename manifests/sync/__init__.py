"""What should run, agreed between a device and the cloud."""
