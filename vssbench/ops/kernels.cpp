// The module vssbench.ops._kernels: inner loops of operators on the CPU.

#include "maps.hpp"

NB_MODULE(_kernels, module) {
  module.doc() = "Inner loops of operators on the CPU";
  vssbench::ops::bind_attention(module);
  vssbench::ops::bind_warp(module);
}
