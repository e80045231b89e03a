// The kinds of value that keys take: each reads one node strictly, says what it expects, and can show a value in the same form.
// Owns the text forms of the configuration language (times, sizes, choices, addresses). Knows no key.
#pragma once

#include <concepts>
#include <functional>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/config/config.hpp"
#include "common/config/diagnostic.hpp"
#include "common/config/tree.hpp"

namespace culvert::config {

/// A node on its way through a reader: where it hangs, and where its findings go.
struct At {
  Sink& sink;
  const Node& node;
  std::string path;
  std::uint8_t ike_version = 1;  ///< of the connection around: how proposals are read

  void error(std::string message, std::string suggestion = {}) const {
    sink.error(node.at, path, std::move(message), std::move(suggestion));
  }
  void expected(std::string_view what, std::string suggestion = {}) const {
    error("expected " + std::string(what) + ", got " + node.describe(), std::move(suggestion));
  }
  [[nodiscard]] At below(const Node& inner, std::string where) const { return {sink, inner, std::move(where), ike_version}; }
  [[nodiscard]] At item(std::size_t index) const { return below(*node.items[index], path + "[" + std::to_string(index) + "]"); }
  [[nodiscard]] bool given(std::string_view key) const { return node.find(key) != nullptr; }
};

/// How a value of type M is written.
template <class M>
struct Kind {
  std::string expects;                              ///< "a time from 1s to 30d"
  std::function<std::optional<M>(const At&)> read;  ///< reports what is wrong itself
  std::function<std::string(const M&)> show;        ///< the text that reads as the value
};

// --------------------------------------------------------------------------------------------------------- text to value

/// "500ms", "90s", "15m", "4h", "7d", and "0". The error says what is wrong, the suggestion may repair it.
struct UnitError {
  std::string message, suggestion;
};
std::expected<Milliseconds, UnitError> parse_duration(std::string_view text);
std::string show_duration(Milliseconds d);
/// "4096B", "64KB", "512MB", "2GB", "1TB" (each 1024 of the one before), and "0". In bytes.
std::expected<std::uint64_t, UnitError> parse_size(std::string_view text);
std::string show_size(std::uint64_t bytes);
std::optional<std::uint64_t> parse_unsigned(std::string_view text);  ///< decimal, without sign or leading zeros

// ----------------------------------------------------------------------------------------------------------------- kinds

Kind<bool> boolean();
Kind<std::string> text(std::string expects, std::size_t max = 255);
Kind<std::string> file_path(std::size_t max = 4095);
Kind<std::string> socket_path();  ///< absolute; fits sockaddr_un
Kind<double> factor(double low, double high);
Kind<std::string> device();
Kind<std::string> listen_address();  ///< "127.0.0.1:9464"; "off" is read as empty
Kind<std::uint32_t> megabytes(std::uint32_t low, std::uint32_t high);
Kind<std::uint64_t> bytes_or_none();
Kind<IpAddress> address();
Kind<IpAddress> address_v4();      ///< for what IPv4 alone has
Kind<Prefix> prefix();             ///< keeps host bits
Kind<Prefix> interface_address();  ///< one that a host can have
Kind<Prefix> network();            ///< refuses host bits
Kind<TrafficSelector> selector();
Kind<SideSelector> side_selector();    ///< a traffic selector, or "dynamic", "dynamic[tcp/443]"
Kind<Identity> identity();             ///< one of our own: no pattern
Kind<Identity> identity_pattern();     ///< of peers
Kind<std::string> certificate_file();  ///< an absolute path
Kind<VrfRef> vrf_reference();
Kind<SecretRef> secret_reference();
Kind<SecretRef> or_none(Kind<SecretRef> kind);  ///< ... or empty
Kind<SecretRef> key_reference();                ///< a file, or nothing
/// How a side proves itself: one of `words`, or with what it signs. Of the peer (`of_peer`) the latter begins with "ike:", since in
/// swanctl it is about its certificates, too, without.
Kind<Method> auth_method(bool of_peer);
/// In allow_weak, for users: EAP-MD5.
inline constexpr std::string_view kWeakEapMd5 = "eap-md5";
/// ... for certificates: RSA keys of 1024 bits and more; SHA-1 under a signature.
inline constexpr std::string_view kWeakRsa = "rsa1024", kWeakCertificateHash = "sha1cert";
Kind<std::string> weak_algorithm();  ///< one of all_weak_algorithms(), or of what certificates may have of the kind
Kind<std::vector<IkeSuite>> ike_proposals();
Kind<std::vector<EspSuite>> esp_proposals();
Kind<std::vector<EspSuite>> ah_proposals();
Kind<std::vector<TrafficSelector>> remote_addresses();  ///< a list of addresses, networks and ranges, or "%any" as an empty one

/// Reads a scalar, or reports what was expected.
const std::string* scalar(const At& at, std::string_view expects);

template <std::unsigned_integral M>
Kind<M> number(M low, M high, std::string what = "a number") {
  const std::string expects = what + " from " + std::to_string(low) + " to " + std::to_string(high);
  return {expects,
          [=](const At& at) -> std::optional<M> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto parsed = parse_unsigned(*value);
            if (!parsed || *parsed < low || *parsed > high) {
              at.expected(expects);
              return std::nullopt;
            }
            return static_cast<M>(*parsed);
          },
          [](const M& v) { return std::to_string(v); }};
}

/// The same, or one of some words that stand for numbers.
Kind<std::uint16_t> number_or(std::vector<std::pair<std::string, std::uint16_t>> words, std::uint16_t low, std::uint16_t high,
                              std::string what);

/// A power of two between two others.
template <std::unsigned_integral M>
Kind<M> power_of_two(M low, M high) {
  const std::string expects = "a power of two from " + std::to_string(low) + " to " + std::to_string(high);
  Kind<M> kind = number<M>(low, high);
  kind.expects = expects;
  kind.read = [=](const At& at) -> std::optional<M> {
    const auto* value = scalar(at, expects);
    if (!value) return std::nullopt;
    const auto parsed = parse_unsigned(*value);
    if (!parsed || *parsed < low || *parsed > high || (*parsed & (*parsed - 1)) != 0) {
      at.expected(expects);
      return std::nullopt;
    }
    return static_cast<M>(*parsed);
  };
  return kind;
}

/// A time in whole units of D. With `or_zero`, "0" is taken, too, and means what `zero` says.
template <class D>
Kind<D> duration(Milliseconds low, Milliseconds high, std::string zero = {}) {
  std::string expects = "a time from " + show_duration(low) + " to " + show_duration(high);
  if (!zero.empty()) expects += ", or 0: " + zero;
  return {expects,
          [=](const At& at) -> std::optional<D> {
            const auto* value = scalar(at, expects);
            if (!value) return std::nullopt;
            const auto parsed = parse_duration(*value);
            if (!parsed) {
              at.error("expected " + expects + ", got " + quoted(*value) + ": " + parsed.error().message, parsed.error().suggestion);
              return std::nullopt;
            }
            const bool off = !zero.empty() && *parsed == Milliseconds{0};
            const auto whole = std::chrono::duration_cast<D>(*parsed);
            if ((!off && (*parsed < low || *parsed > high)) || whole != *parsed) {
              at.expected(expects);
              return std::nullopt;
            }
            return whole;
          },
          [](const D& v) { return show_duration(std::chrono::duration_cast<Milliseconds>(v)); }};
}

/// A word of a fixed set; the index of it. `refused` holds words that deserve a reason of their own.
struct RefusedWord {
  std::string word, why;
};
Kind<std::size_t> word(std::vector<std::string> words, std::vector<RefusedWord> refused = {});

/// One of some words. Those in `refused` are known elsewhere, and refused with a reason.
template <class M>
Kind<M> choice(std::vector<std::pair<std::string, M>> words, std::vector<RefusedWord> refused = {});

/// A list of K; a single value stands for a list of one. `order` says what the order means.
template <class M>
Kind<std::vector<M>> list_of(Kind<M> kind, std::size_t low, std::size_t high, std::string order = {}) {
  const std::string expects = kind.expects + ", or a list of up to " + std::to_string(high) + order;
  return {expects,
          [=](const At& at) -> std::optional<std::vector<M>> {
            if (at.node.kind == Node::Kind::Scalar) {
              auto one = kind.read(at);
              return one ? std::optional(std::vector<M>{std::move(*one)}) : std::nullopt;
            }
            if (at.node.kind != Node::Kind::Sequence) {
              at.expected(expects);
              return std::nullopt;
            }
            if (at.node.items.size() < low || at.node.items.size() > high) {
              at.error("expected " + std::to_string(low) + " to " + std::to_string(high) + " entries, got " +
                       std::to_string(at.node.items.size()));
              return std::nullopt;
            }
            std::vector<M> out;
            bool whole = true;
            for (std::size_t i = 0; i < at.node.items.size(); ++i) {
              auto one = kind.read(at.item(i));
              whole = whole && one;
              if (one) out.push_back(std::move(*one));
            }
            return whole ? std::optional(std::move(out)) : std::nullopt;
          },
          [=](const std::vector<M>& v) {
            std::string out;
            for (const auto& one : v) out += (out.empty() ? "" : ", ") + kind.show(one);
            return "[" + out + "]";
          }};
}

template <class M>
Kind<M> choice(std::vector<std::pair<std::string, M>> words, std::vector<RefusedWord> refused) {
  std::vector<std::string> names;
  for (const auto& w : words) names.push_back(w.first);
  const Kind<std::size_t> index = word(names, std::move(refused));
  return {index.expects,
          [=](const At& at) -> std::optional<M> {
            const auto i = index.read(at);
            return i ? std::optional(words[*i].second) : std::nullopt;
          },
          [=](const M& v) {
            for (const auto& w : words)
              if (w.second == v) return w.first;
            return std::string("?");
          }};
}

/// A value that may be absent; absent, it shows as `absent`.
template <class M>
Kind<std::optional<M>> maybe(Kind<M> kind) {
  return {kind.expects,
          [=](const At& at) -> std::optional<std::optional<M>> {
            auto value = kind.read(at);
            return value ? std::optional(std::optional<M>(std::move(*value))) : std::nullopt;
          },
          [=](const std::optional<M>& v) { return v ? kind.show(*v) : std::string(); }};
}

/// Names of ports, connections and children: 1 to 30 of [A-Za-z0-9_.-]. "connection/child" then fits the 64 bytes of shm::Name.
bool valid_name(std::string_view name);
inline constexpr std::string_view kNameRule = "a name of 1 to 30 letters, digits, '_', '.' or '-'";

}  // namespace culvert::config
