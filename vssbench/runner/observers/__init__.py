"""What a job does with the answers of its methods, each in one shape: accuracy, further metrics, oracles, kept frames.

What is measured of a whole run once its units are there (MACs, latency) lies here too.
"""
