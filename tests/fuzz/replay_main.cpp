// Runs a fuzz target without libFuzzer: over each file of a corpus, then over mutations of them that are the same in every run.
// usage: fuzz_NAME_replay [--mutations N] [--seed S] FILE_OR_FOLDER...
// When the target dies, the input is named on standard error: the file, and the number of the mutation.
#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using Input = std::vector<std::uint8_t>;

char g_current[512];  // what runs now, for the last words

void last_words() {
  const auto written = ::write(STDERR_FILENO, g_current, std::strlen(g_current));
  static_cast<void>(written);  // nothing is left to do about it
}
void on_signal(int number) {
  last_words();
  std::signal(number, SIG_DFL);
  std::raise(number);
}

/// splitmix64: a small generator with a documented sequence, the same on every machine.
struct Random {
  std::uint64_t state;
  std::uint64_t next() {
    std::uint64_t z = (state += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(next() % n); }
};

/// One to eight small changes: flip, overwrite, cut, insert, repeat, splice with another input.
Input mutate(Input in, const std::vector<Input>& all, Random& random) {
  for (std::size_t change = 1 + random.below(8); change-- > 0;) {
    const std::size_t at = random.below(in.size() + 1);
    const auto place = in.begin() + static_cast<std::ptrdiff_t>(at);
    const auto rest = in.size() - at;
    switch (random.below(6)) {
      case 0:
        if (rest != 0) *place = static_cast<std::uint8_t>(*place ^ (1U << random.below(8)));
        break;
      case 1:
        if (rest != 0) *place = static_cast<std::uint8_t>(random.next());
        break;
      case 2:
        in.erase(place, place + static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(rest, 64) + 1)));
        break;
      case 3:
        in.insert(place, 1 + random.below(4), static_cast<std::uint8_t>(random.next()));
        break;
      case 4: {
        const Input piece(place, place + static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(rest, 64) + 1)));
        const auto to = static_cast<std::ptrdiff_t>(random.below(in.size() + 1));
        in.insert(in.begin() + to, piece.begin(), piece.end());
        break;
      }
      default: {
        const Input& other = all[random.below(all.size())];
        const auto from = static_cast<std::ptrdiff_t>(random.below(other.size() + 1));
        const auto count =
            static_cast<std::ptrdiff_t>(random.below(std::min<std::size_t>(other.size() - static_cast<std::size_t>(from), 128) + 1));
        in.insert(place, other.begin() + from, other.begin() + from + count);
        break;
      }
    }
  }
  return in;
}

void run(const Input& input, const std::string& what) {
  const std::string text = "input: " + what + "\n";
  std::memset(g_current, 0, sizeof g_current);
  std::memcpy(g_current, text.data(), std::min(text.size(), sizeof g_current - 1));
  const Input exact(input);  // of its own size, so that a sanitizer sees the byte behind its end
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
}

std::vector<std::filesystem::path> collect(const std::vector<std::string>& arguments) {
  std::vector<std::filesystem::path> out;
  for (const auto& argument : arguments) {
    if (!std::filesystem::is_directory(argument)) {
      out.emplace_back(argument);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(argument))
      if (entry.is_regular_file()) out.push_back(entry.path());
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t mutations = 0, seed = 1;
  std::vector<std::string> places;
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument == "--mutations" && i + 1 < argc) {
      mutations = std::strtoull(argv[++i], nullptr, 10);
    } else if (argument == "--seed" && i + 1 < argc) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else {
      places.push_back(argument);
    }
  }
  std::vector<Input> corpus;
  const auto files = collect(places);
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    if (!in) {
      std::cerr << "cannot read " << file << '\n';
      return 1;
    }
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  if (corpus.empty()) {
    std::cerr << "no seed inputs: a corpus is expected\n";
    return 1;
  }
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(last_words);
  for (const int number : {SIGABRT, SIGFPE, SIGILL}) std::signal(number, on_signal);
  if (!__sanitizer_set_death_callback) std::signal(SIGSEGV, on_signal);
  for (std::size_t i = 0; i < corpus.size(); ++i) run(corpus[i], files[i].string());
  Random random{seed};
  for (std::uint64_t n = 0; n < mutations; ++n) {
    const std::size_t i = random.below(corpus.size());
    run(mutate(corpus[i], corpus, random), files[i].string() + ", mutation " + std::to_string(n) + " of seed " + std::to_string(seed));
  }
  std::cout << "ran " << corpus.size() << " seed inputs and " << mutations << " mutations\n";
  return 0;
}
