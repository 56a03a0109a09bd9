"""How a running plan changes: kept, carried over, added, removed; one cut in time; the way back."""
