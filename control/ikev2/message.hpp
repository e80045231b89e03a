// A chain of payloads, read and written (RFC 7296 §3.2). Owns the generic payload header, its critical bit, and the walk along the chain.
// Never touches the IKE header (control/ike/header.hpp) and never decrypts (cipher.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "control/ikev2/payloads.hpp"

namespace culvert::ikev2 {

/// One payload as received: `body` is what is signed, `content` is what it means.
struct Payload {
  PayloadType type{};
  bool critical = false;
  Bytes body;  ///< without the generic header, exactly as on the wire
  Content content;
};

class Message {
 public:
  /// `first` is the next-payload field in front of the chain, `bytes` all of it, in clear. Nothing at all is a chain, too (an empty
  /// INFORMATIONAL). An SK or SKF payload must be the last one, and its next-payload field is of what is inside (RFC 7296 §3.14).
  static Parsed<Message> parse(PayloadType first, ByteView bytes);

  [[nodiscard]] const std::vector<Payload>& payloads() const { return payloads_; }
  [[nodiscard]] std::size_t count(PayloadType type) const;
  /// The n-th payload of the type, from 0; nullptr: there is none.
  [[nodiscard]] const Payload* raw(PayloadType type, std::size_t nth = 0) const;
  /// The n-th payload of the type, decoded: find<Ke>().
  template <class T>
  [[nodiscard]] const T* find(std::size_t nth = 0) const {
    const Payload* p = raw(T::kType, nth);
    return p ? std::get_if<T>(&p->content) : nullptr;
  }
  template <class T>
  [[nodiscard]] std::vector<const T*> all() const {
    std::vector<const T*> out;
    for (const Payload& p : payloads_)
      if (p.type == T::kType)
        if (const T* t = std::get_if<T>(&p.content)) out.push_back(t);
    return out;
  }
  /// The first notification of this type; nullptr: there is none.
  [[nodiscard]] const Notify* notify(NotifyType type) const;
  /// The first error notification.
  [[nodiscard]] const Notify* error() const;
  /// The type of a payload that is marked critical and that we do not know (RFC 7296 §2.5).
  [[nodiscard]] std::optional<std::uint8_t> unknown_critical() const;

 private:
  std::vector<Payload> payloads_;
};

/// Collects payloads in order and writes the chain. No payload that we send is marked critical (RFC 7296 §2.5).
class Builder {
 public:
  template <class T>
    requires requires { T::kType; }
  Builder& add(const T& payload) {
    return add_raw(T::kType, encode_body(payload));
  }
  Builder& add_raw(PayloadType type, Bytes body);
  /// A status or error notification that names no SPI.
  Builder& notify(NotifyType type, Bytes data = {});
  /// None when nothing was added.
  [[nodiscard]] PayloadType first() const;
  [[nodiscard]] Bytes chain() const;
  [[nodiscard]] bool empty() const { return payloads_.empty(); }

 private:
  struct Raw {
    PayloadType type{};
    Bytes body;
  };
  std::vector<Raw> payloads_;
};

}  // namespace culvert::ikev2
