"""From text to plain values: bounded YAML and JSON that remember where every value stands."""
