// What may be done to a chain of payloads before it is sealed: bytes, lengths, types, payloads of their own, and those of other messages.
// Owns no key and no message: pure, the same for both versions of IKE, whose generic payload header is the same.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/bytes.hpp"

namespace culvert::test::tamper {

struct Part {
  std::uint8_t type = 0;
  std::uint8_t flags = 0;  ///< the byte behind next-payload: RESERVED, or the critical bit
  Bytes body;
  std::optional<std::uint16_t> length{};  ///< that is written, where it is not the right one
};
struct Chain {
  std::vector<Part> parts;
  Bytes tail;             ///< what stands behind the last payload, or does not parse
  std::size_t cut = 0;    ///< bytes that are missing at the end
  std::uint8_t last = 0;  ///< next-payload of the last one
  [[nodiscard]] std::uint8_t first() const { return parts.empty() ? last : parts.front().type; }
};
Chain take_apart(std::uint8_t first, ByteView bytes);
Bytes put_together(const Chain& chain);

/// One change of one message that a host sends.
struct Change {
  std::uint8_t message = 0;  ///< which of its messages, from 0; kEvery: each
  std::uint8_t what = 0;     ///< below, without kUnproven
  bool unproven = false;     ///< what proves the message stays as it was
  std::uint8_t payload = 0;  ///< which one, modulo how many there are
  std::uint16_t at = 0;      ///< a place in it, modulo its size (kEnd: the last one); or a number
  Bytes data{};
};
inline constexpr std::uint8_t kEvery = 255, kUnproven = 0x80;
inline constexpr std::uint16_t kEnd = 0xffff;
enum What : std::uint8_t {
  kFlip,       ///< bits of data[0] (all of them: 0) at `at`
  kOverwrite,  ///< with data
  kInsert,     ///< data
  kRemove,     ///< as many bytes as data has
  kGrow,       ///< by data[0] * 16 bytes of data[1]
  kDouble,     ///< the payload, to the place `at`
  kDrop,       ///< the payload
  kSwap,       ///< with the one at the place `at`
  kRetype,     ///< to data[0]
  kLength,     ///< the field says `at`
  kFlags,      ///< the byte behind next-payload is data[0]
  kAdd,        ///< a payload of type data[0] with the rest of data
  kCut,        ///< `at` bytes at the end
  kInstead,    ///< of the chain, the payloads that data has: the first is of type `payload`
  kBorrow,     ///< a payload of an earlier message: `payload` says which, `at` of which message
  kHeader,     ///< exchange type ^ data[0], flags ^ data[1], message ID + (signed) data[2]
  kNumber,     ///< two bytes at `at`, an even place, are an odd number: 0, 1, the size, ... by data[0]
  kLast,       ///< next-payload of the last one is data[0]
  kWhats
};

/// What a change does to the header in front of the chain.
struct HeaderChange {
  std::uint8_t exchange = 0, flags = 0;
  std::int8_t id = 0;
};

/// `past`: chains that were sent before.
void apply(const Change& change, Chain& chain, HeaderChange& header, const std::vector<Chain>& past);

/// Records of message, what, payload, at (2 bytes), how many bytes of data, data; as many as there are, 32 at most.
std::vector<Change> read_changes(Reader& in);
void write_change(Writer& out, const Change& change);

}  // namespace culvert::test::tamper
