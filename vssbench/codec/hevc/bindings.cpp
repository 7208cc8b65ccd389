#include <nanobind/nanobind.h>

// The extension is the home of the motion parser; it exports nothing yet.
NB_MODULE(_motion, module) { module.doc() = "HEVC motion syntax parser"; }
