// A chain of payloads, read and written (RFC 2408 §3.2). Owns the generic payload header and the walk along the chain.
// Never touches the ISAKMP header (control/ike/header.hpp) and never decrypts (cipher.hpp).
#pragma once

#include <cstdint>
#include <vector>

#include "control/ikev1/payloads.hpp"

namespace culvert::ikev1 {

/// One payload as received: `body` is what hashes are made of, `content` is what it means.
struct Payload {
  PayloadType type{};
  Bytes body;           ///< without the generic header, exactly as on the wire
  std::size_t end = 0;  ///< offset in Message::chain() of the first byte behind this payload
  Content content;
};

/// What may stand behind the last payload.
enum class Trailing : std::uint8_t {
  Alignment,  ///< up to three zero bytes that make a message in clear a multiple of four (RFC 2408 §3.6), as libreswan sends them
  Padding,    ///< anything: the padding of an encrypted message, whose bytes RFC 2409 App. B leaves open
};

class Message {
 public:
  /// `first` is the next-payload field of the ISAKMP header, `bytes` what follows it, in clear. An empty chain is an error.
  static Parsed<Message> parse(PayloadType first, ByteView bytes, Trailing trailing);

  [[nodiscard]] const std::vector<Payload>& payloads() const { return payloads_; }
  /// All payloads with their generic headers, without padding.
  [[nodiscard]] ByteView chain() const { return chain_; }
  /// The chain behind the n-th payload: what HASH(1) and HASH(2) cover is behind(0) (RFC 2409 §5.5).
  [[nodiscard]] ByteView behind(std::size_t index) const { return chain().subspan(payloads_.at(index).end); }

  [[nodiscard]] std::size_t count(PayloadType type) const;
  /// The n-th payload of the type, from 0; nullptr: there is none. The body as received is in there.
  [[nodiscard]] const Payload* raw(PayloadType type, std::size_t nth = 0) const;
  /// The n-th payload of the type, decoded: find<Ke>(), find<Id>(1).
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
  /// Overwrites all of it: it carried a password.
  void wipe();

 private:
  std::vector<Payload> payloads_;
  Bytes chain_;
};

/// Collects payloads in order and writes the chain.
class Builder {
 public:
  template <class T>
    requires requires { T::kType; }
  Builder& add(const T& payload) {
    return add_raw(T::kType, encode_body(payload));
  }
  /// A payload as it is, for instance an SA echoed as received.
  Builder& add_raw(PayloadType type, Bytes body);
  /// Puts a HASH payload in front of all others, when what it covers is complete.
  Builder& prepend_hash(Bytes hash);
  /// For the ISAKMP header; None when nothing was added.
  [[nodiscard]] PayloadType first() const;
  [[nodiscard]] Bytes chain() const;
  [[nodiscard]] bool empty() const { return payloads_.empty(); }
  /// Overwrites all of it: it carries a password.
  void wipe();

 private:
  struct Raw {
    PayloadType type{};
    Bytes body;
  };
  std::vector<Raw> payloads_;
};

}  // namespace culvert::ikev1
