#include "cabac_contexts.hpp"

#include <algorithm>

#include "cabac_tables.hpp"

namespace vssbench::h264 {

// (9-5)
void initialise_contexts(bits::Model* models, unsigned table, int slice_qp) {
  const int qp = std::clamp(slice_qp, 0, 51);
  for (unsigned i = 0; i < 1024; ++i) {
    const int8_t* mn = tables::kContextInit[table][i];
    const int state = std::clamp(((mn[0] * qp) >> 4) + mn[1], 1, 126);
    models[i] = static_cast<bits::Model>(state <= 63 ? (63 - state) << 1 : (state - 64) << 1 | 1);
  }
}

}  // namespace vssbench::h264
