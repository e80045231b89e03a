// How numbers and tables look to a person. Owns units and alignment; knows no command.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json.hpp>

namespace culvert::control::cli {

std::string human_bytes(std::uint64_t n);  ///< "0 B", "999 B", "1.0 kB", "12.3 MB": powers of 1000
std::string human_count(std::uint64_t n);  ///< "1 234 567"
std::string time_text(std::uint64_t ns);   ///< nanoseconds since 1970, as lines of the log have the time
std::string human_seconds(double s);       ///< "0.4s", "12s", "3m05s", "2h07m", "4d03h"; a minus sign for what is past
std::string human_seconds(const boost::json::value& v, std::string_view if_null = "-");

/// Columns as wide as their widest cell, two spaces apart; the last one is not padded.
class Table {
 public:
  explicit Table(std::vector<std::string> head, std::string indent = {}) : indent_(std::move(indent)) { rows_.push_back(std::move(head)); }
  /// Columns whose cells stand at the right.
  Table& right(std::vector<std::size_t> columns) {
    right_ = std::move(columns);
    return *this;
  }
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  [[nodiscard]] bool empty() const { return rows_.size() == 1; }
  [[nodiscard]] std::string text() const;

 private:
  std::string indent_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> right_;
};

/// Fields of a reply. A field that is missing or of another kind is an error of the other side: std::runtime_error.
std::string text_of(const boost::json::object& o, std::string_view key);     ///< "" for null and absent
std::uint64_t count_of(const boost::json::object& o, std::string_view key);  ///< 0 for null and absent
bool flag_of(const boost::json::object& o, std::string_view key);
const boost::json::array& list_of(const boost::json::object& o, std::string_view key);
/// "a 1, b 2": the members of `o`'s object `key` that are not 0; "" where there is none.
std::string counts_text(const boost::json::object& o, std::string_view key);
/// ", VRF NAME"; "" where it is the default one.
std::string vrf_text(const boost::json::object& o);
/// Whether it is an IKE SA that both sides can take to other addresses (RFC 4555).
bool can_move(const boost::json::object& o);
bool can_sync(const boost::json::object& o, std::string_view key);
/// Whether it is of IKEv2, an object with the version of IKE; IKEv1 goes without saying.
bool of_ikev2(const boost::json::object& o);
/// "no answer to message 1 yet", "no answer to IKE_AUTH yet"; "" while we are computing.
std::string unanswered_text(std::uint64_t message, bool ikev2);
/// A line that says in which other VRFs the address that was asked about is somebody else's; "" where it is in none.
std::string also_in_text(const boost::json::object& result);
std::string joined(const boost::json::array& texts, std::string_view separator = ", ");

}  // namespace culvert::control::cli
