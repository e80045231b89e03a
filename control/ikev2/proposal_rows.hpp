// Suites as transforms, one of each kind, and a peer's proposal sorted by kind (RFC 7296 §3.3.2, §3.3.3).
// Owns which kinds a protocol has and which algorithms may stand in it. Never decides which of several suites is taken (proposal.cpp).
// For the proposal files only.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "control/ikev2/proposal.hpp"

namespace culvert::ikev2::proposals {

inline constexpr std::size_t kKinds = 12;
inline constexpr std::size_t slot(TransformType t) { return static_cast<std::size_t>(t) - 1; }
inline constexpr std::array kTypes{TransformType::Encr, TransformType::Prf, TransformType::Integ, TransformType::Ke,
                                   TransformType::Esn,  additional_type(0), additional_type(1),   additional_type(2),
                                   additional_type(3),  additional_type(4), additional_type(5),   additional_type(6)};

/// A suite; a kind that it has not is empty.
struct Row {
  std::uint8_t protocol = 0;
  std::array<std::optional<Transform>, kKinds> kinds{};
  [[nodiscard]] const std::optional<Transform>& at(TransformType t) const { return kinds[slot(t)]; }
  friend bool operator==(const Row&, const Row&) = default;
};
/// Nothing of a suite that IKEv2 cannot negotiate, such as one of IKEv1.
std::optional<Row> row_of(const IkeSuite& suite);
std::optional<Row> row_of(const EspSuite& suite);

/// The table's row that a transform names; nullptr: none, or the wrong length of key.
const EncrInfo* encr_info(const Transform& t);
const IntegInfo* integ_info(const Transform& t);
const PrfInfo* prf_info(const Transform& t);
const DhInfo* dh_info(const Transform& t);  ///< of an additional key exchange, too

/// Proposals without a suite that is not among `rows`, in their order, with our SPI in each.
Sa offer_of(std::span<const Row> rows, const Bytes& spi);

/// What a proposal lists, by kind.
struct Listed {
  const Proposal* proposal = nullptr;
  std::array<std::vector<const Transform*>, kKinds> kinds{};
  std::string problem;  ///< why none of it may be taken: a kind that we do not know (RFC 7296 §3.3.6), or one that is not the protocol's
  [[nodiscard]] const std::vector<const Transform*>& at(TransformType t) const { return kinds[slot(t)]; }
};
Listed list(const Proposal& p);
/// The transform for one kind of a row: the row's own, or NONE where the row has none and NONE is listed.
struct Pick {
  bool fits = false;
  const Transform* transform = nullptr;  ///< nullptr: the kind is left out of the reply
};
/// `groups` false: key exchanges are not looked at (RFC 7296 §1.2: an SA payload of IKE_AUTH has none).
Pick pick(const Row& row, const Listed& listed, TransformType type, bool groups = true);

/// "aes256"; "encryption 77".
std::string name(const Transform& t);
/// What is wrong with the values listed for one kind that does not fit.
std::string complaint(const Row& row, const Listed& listed, TransformType type);
/// "IKE", "ESP", "protocol 7".
std::string protocol_name(std::uint8_t protocol);

}  // namespace culvert::ikev2::proposals
