"""What a frame costs: MACs, latency, energy."""
