// Reference picture lists (8.2.4).
#pragma once
#include <memory>
#include <vector>

#include "picture.hpp"

namespace vssbench::h264 {

/// The lists of one slice of `current` from the pictures of the buffer, whose FrameNumWrap is set. Entries without
/// picture are those that the stream lacks; false if a modification names such a picture.
bool make_lists(const SliceHeader& header, const std::shared_ptr<Picture>& current,
                const std::vector<std::shared_ptr<Picture>>& pictures, std::vector<Reference> (&lists)[2]);

}  // namespace vssbench::h264
