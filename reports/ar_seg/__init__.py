"""AR-Seg (Hu et al., CVPR 2023): experiments for its tables and figures, and its published numbers."""
