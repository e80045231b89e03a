#include "control/ikev2/trace.hpp"

#include <algorithm>

#include "control/ikev2/peers.hpp"
#include "control/ikev2/proposal.hpp"

namespace culvert::ikev2 {

namespace {

constexpr std::size_t kListed = 8;  ///< selectors or SPIs of a payload that are named; the others are counted

std::string hex(std::uint64_t value, int digits) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (int i = digits - 1; i >= 0; --i) out += kDigits[value >> (4 * i) & 15U];
  return out;
}

std::string size_text(std::size_t size) { return std::to_string(size) + " bytes"; }

std::string exchange_name(std::uint8_t exchange) {
  switch (exchange) {
    case ike::kExchangeSaInit:
      return "IKE_SA_INIT";
    case ike::kExchangeAuth:
      return "IKE_AUTH";
    case ike::kExchangeCreateChildSa:
      return "CREATE_CHILD_SA";
    case ike::kExchangeInformationalV2:
      return "INFORMATIONAL";
    case ike::kExchangeSessionResume:
      return "IKE_SESSION_RESUME";
    case ike::kExchangeIntermediate:
      return "IKE_INTERMEDIATE";
    case ike::kExchangeFollowupKe:
      return "IKE_FOLLOWUP_KE";
    default:
      return "exchange " + std::to_string(exchange);
  }
}

std::string group_name(std::uint16_t group) {
  const DhInfo* row = find_ke(static_cast<DhGroup>(group));
  return row ? std::string(row->name) : "group " + std::to_string(group);
}

std::string protocol_name(std::uint8_t protocol) {
  switch (protocol) {
    case kProtoIke:
      return "IKE";
    case kProtoAh:
      return "AH";
    case kProtoEsp:
      return "ESP";
    default:
      return "protocol " + std::to_string(protocol);
  }
}

/// "10.1.0.0/24, 10.1.1.0/24, and 7 more"
template <class List, class Text>
std::string listed(const List& list, Text&& text) {
  std::string out;
  for (std::size_t i = 0; i < std::min(list.size(), kListed); ++i) out += (i == 0 ? "" : ", ") + text(list[i]);
  if (list.size() > kListed) out += ", and " + std::to_string(list.size() - kListed) + " more";
  return out;
}

struct Inside {
  std::size_t bytes;

  std::string operator()(const Sa& sa) const { return culvert::ikev2::describe(sa); }
  std::string operator()(const Ke& ke) const { return group_name(static_cast<std::uint16_t>(ke.group)) + ", " + size_text(ke.data.size()); }
  template <PayloadType Type>
  std::string operator()(const Identification<Type>& id) const {
    return text(id);
  }
  std::string operator()(const Auth& auth) const {
    const std::string method = auth.method == AuthMethodId::SharedKey ? std::string("pre-shared key")
                                                                      : "method " + std::to_string(static_cast<unsigned>(auth.method));
    return method + ", " + size_text(auth.data.size());
  }
  std::string operator()(const Notify& n) const {
    std::string out = name(n.type);
    if (n.spi.size() == 4) out += " of " + protocol_name(n.protocol) + " " + hex(Reader(n.spi).be<std::uint32_t>(), 8);
    if (n.type == NotifyType::InvalidKePayload && n.data.size() == 2)
      return out + ", wanted " + group_name(Reader(n.data).be<std::uint16_t>());
    return n.data.empty() ? out : out + ", " + size_text(n.data.size());
  }
  std::string operator()(const Delete& d) const {
    if (d.protocol == kProtoIke) return "the IKE SA";
    return protocol_name(d.protocol) + " " + listed(d.spis, [](Spi spi) { return hex(spi.value, 8); });
  }
  template <PayloadType Type>
  std::string operator()(const Selectors<Type>& ts) const {
    std::string out = listed(ts.selectors, [](const TrafficSelector& s) { return s.to_string(); });
    if (ts.unknown > 0) out += (out.empty() ? "" : ", ") + std::to_string(ts.unknown) + " of unknown types";
    return out;
  }
  std::string operator()(const Cp& cp) const {
    return "type " + std::to_string(static_cast<unsigned>(cp.type)) + ", " + std::to_string(cp.attributes.size()) + " attributes";
  }
  template <class Other>
  std::string operator()(const Other&) const {
    return size_text(bytes);
  }
};

std::string describe(const Payload& p) {
  return name(p.type) + " (" + std::visit(Inside{p.body.size()}, p.content) + (p.critical ? ", critical)" : ")");
}

}  // namespace

bool sealed_body(const ike::Header& h) {
  return h.next_payload == static_cast<std::uint8_t>(PayloadType::Sk) || h.next_payload == static_cast<std::uint8_t>(PayloadType::Skf);
}

std::string describe(const ike::Header& h, std::size_t bytes) {
  return exchange_name(h.exchange) + ((h.flags & ike::kFlagResponse) != 0 ? " response " : " request ") +
         std::to_string(h.message_id.value) + ", SPIs " + hex(h.spi_i.value, 16) + " " + hex(h.spi_r.value, 16) + ", " + size_text(bytes) +
         (sealed_body(h) ? ", encrypted" : "");
}

std::string describe(const Message& message) {
  if (message.payloads().empty()) return "nothing";
  std::string out;
  for (const Payload& p : message.payloads()) {
    if (out.size() > kTraceLine) break;
    out += (out.empty() ? "" : ", ") + describe(p);
  }
  if (out.size() > kTraceLine) out = out.substr(0, kTraceLine) + " ... (" + std::to_string(out.size() - kTraceLine) + " more)";
  return out;
}

}  // namespace culvert::ikev2
