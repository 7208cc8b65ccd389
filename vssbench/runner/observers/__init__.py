"""What a job does besides predicting: further metrics, oracles, kept frames, costs, latency."""
