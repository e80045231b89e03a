// What the judging of proposals has in common in both versions of IKE: lists of suites in words, and the search for the first difference.
// Owns no rule about what is acceptable. For the proposal files of ikev1/ and ikev2/ only.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <utility>

namespace culvert::ike::judging {

inline constexpr std::size_t kDescribed = 8;   // suites that an explanation names
inline constexpr std::size_t kExplained = 64;  // transforms, or proposals of IKEv2, that the search for the first difference looks at

inline void append(std::string& list, std::size_t& count, const std::string& item) {
  if (count++ >= kDescribed) return;
  if (!list.empty()) list += ", ";
  list += item;
}
inline std::string finish(std::string list, std::size_t count) {
  if (count > kDescribed) list += " and " + std::to_string(count - kDescribed) + " more";
  return list.empty() ? "nothing" : list;
}

template <class Suites>
std::string wanted_text(const Suites& suites) {
  std::string list;
  std::size_t count = 0;
  for (const auto& s : suites) append(list, count, count < kDescribed ? s.to_string() : std::string());
  return finish(std::move(list), count);
}

/// The explanation whose offer agrees with one of ours in the most fields before the first difference, then in the most.
class Closest {
 public:
  /// `same`: of each field of a suite, in the order in which a difference is reported. `complaint(n)`: what is said of the offered value of
  /// field n; asked for only where it counts, as a stranger's offer is compared with each suite of ours.
  template <std::size_t kFields, class Complaint>
  void consider(const std::array<bool, kFields>& same, Complaint&& complaint) {
    const auto agree = static_cast<std::size_t>(std::ranges::count(same, true));
    if (agree == kFields || (!text_.empty() && agree <= best_)) return;
    best_ = agree;
    text_ = complaint(static_cast<std::size_t>(std::ranges::find(same, false) - same.begin()));
  }
  void fallback(const std::string& text) {
    if (fallback_.empty()) fallback_ = text;
  }
  [[nodiscard]] std::string text() const { return text_.empty() ? fallback_ : text_; }

 private:
  std::size_t best_ = 0;
  std::string text_, fallback_;
};

inline std::string not_acceptable(const std::string& what) { return what + " is not acceptable here"; }

}  // namespace culvert::ike::judging
