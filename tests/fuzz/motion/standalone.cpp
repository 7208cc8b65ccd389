// Runs the fuzz target without libFuzzer: a fixed sequence of mutations of the seeds, the same on every machine.
// Usage: standalone SEED_FOLDER SECONDS MAX_INPUTS. Prints how many inputs were run; defects abort.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

using Bytes = std::vector<uint8_t>;

/// xorshift64*: the standard library's distributions differ between implementations.
class Random {
 public:
  size_t below(size_t bound) {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return static_cast<size_t>((state_ * 0x2545F4914F6CDD1DULL) >> 33) % bound;
  }

 private:
  uint64_t state_ = 0x9E3779B97F4A7C15ULL;
};

std::vector<Bytes> read_seeds(const char* folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  std::vector<Bytes> seeds;
  for (const auto& path : paths) {
    std::ifstream file(path, std::ios::binary);
    seeds.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  return seeds;
}

Bytes mutated(const std::vector<Bytes>& seeds, Random& random) {
  Bytes input = seeds[random.below(seeds.size())];
  for (size_t changes = 1 + random.below(6); changes > 0 && input.size() > 8; --changes) {
    const size_t at = random.below(input.size());
    const auto place = input.begin() + static_cast<std::ptrdiff_t>(at);
    const auto end = place + static_cast<std::ptrdiff_t>(1 + random.below(std::min<size_t>(input.size() - at, 24)));
    switch (random.below(6)) {
      case 0:
        *place = static_cast<uint8_t>(*place ^ (1u << random.below(8)));
        break;
      case 1:
        *place = static_cast<uint8_t>(random.below(256));
        break;
      case 2:
        input.erase(place, end);
        break;
      case 3: {
        const Bytes copy(place, end);
        input.insert(place, copy.begin(), copy.end());
        break;
      }
      case 4: {  // the rest of another stream
        const Bytes& other = seeds[random.below(seeds.size())];
        if (other.empty()) break;
        input.erase(place, input.end());
        input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(random.below(other.size())), other.end());
        break;
      }
      default:
        std::fill(place, end, static_cast<uint8_t>(random.below(2) * 255));
    }
  }
  return input;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<Bytes> seeds = argc == 4 ? read_seeds(argv[1]) : std::vector<Bytes>();
  if (seeds.empty()) {
    std::fprintf(stderr, "usage: standalone SEED_FOLDER SECONDS MAX_INPUTS\n");
    return 2;
  }
  const auto stop = std::chrono::steady_clock::now() + std::chrono::seconds(std::atoi(argv[2]));
  const long most = std::atol(argv[3]);
  for (const Bytes& seed : seeds) LLVMFuzzerTestOneInput(seed.data(), seed.size());
  Random random;
  long count = static_cast<long>(seeds.size());
  for (; count < most && std::chrono::steady_clock::now() < stop; ++count) {
    const Bytes input = mutated(seeds, random);
    LLVMFuzzerTestOneInput(input.data(), input.size());
  }
  std::printf("%ld inputs\n", count);
  return 0;
}
