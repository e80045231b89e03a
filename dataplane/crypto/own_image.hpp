// A shared library's code and data once more, at another place: what is called there has variables of its own.
//
// IPsec-MB as it is built by default checks parameters, and each call of GCM stores a 0 into a variable of the process for that
// (imb_errno). So the cache line that it is in goes from core to core with every packet of every worker: two workers were 1.3 times as
// fast as one. With an image for each of them it stays where it is.
// Owns the mappings. Code is mapped from the file that the library was loaded from, and is in memory once; the data, relocated already,
// are copied. Whatever stands in them points to the library as it was loaded, and functions here may call back there.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <utility>

namespace culvert::dp {

class OwnImage {
 public:
  OwnImage() = default;
  /// Of the library that `code` is in. The error says why there is none: it is a part of the program itself, or its file is not there any
  /// more, or is another one now.
  static std::expected<OwnImage, std::string> of(const void* code);
  OwnImage(OwnImage&& o) noexcept : at_(std::exchange(o.at_, nullptr)), bytes_(o.bytes_), from_(o.from_) {}
  OwnImage& operator=(OwnImage&& o) noexcept {
    std::swap(at_, o.at_);
    std::swap(bytes_, o.bytes_);
    std::swap(from_, o.from_);
    return *this;
  }
  ~OwnImage();

  /// The same function in this image; one of another library, or without an image, is what it was.
  template <class Result, class... Args>
  auto here(Result (*function)(Args...)) const {
    const std::uintptr_t offset = reinterpret_cast<std::uintptr_t>(function) - from_;
    return at_ == nullptr || offset >= bytes_ ? function : reinterpret_cast<Result (*)(Args...)>(at_ + offset);
  }

 private:
  OwnImage(std::uint8_t* at, std::size_t bytes, std::uintptr_t from) : at_(at), bytes_(bytes), from_(from) {}

  std::uint8_t* at_ = nullptr;
  std::size_t bytes_ = 0;
  std::uintptr_t from_ = 0;  // where the library was loaded to
};

}  // namespace culvert::dp
