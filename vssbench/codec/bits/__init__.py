"""What the motion parsers of HEVC and H.264 share: NAL units, bit readers and the driver in C++; containers here."""
