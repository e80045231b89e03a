// CHILD SAs: what they are asked to be, their way into the data plane and out of it.
// Owns every InstallSa and RemoveSa of this engine. Two rules keep traffic going: an inbound SA is in the data plane before the peer can
// know of it, and of a rekeying that the peer begins ours is sent by only when the peer has shown that it is ready for it (RFC 7296 §2.8).
#pragma once

#include <expected>
#include <optional>

#include "control/ikev2/core.hpp"
#include "control/ikev2/proposal.hpp"

namespace culvert::ikev2 {

/// What the child means with the peer of this SA: a dynamic side is the virtual address, where the connection has such, else the outer one;
/// of the family of what is configured for the other side, if there is such. Ours that the gateway has yet to give is any of its family.
SelectorLists selectors_of(const Core& core, const IkeSa& sa, std::size_t child);
/// What a request of ours asks for: all of the child. With the packet that is the reason in front (RFC 7296 §2.9), or, where the peer wants
/// that, for its two addresses alone.
void ask_for_all(Core& core, const IkeSa& sa, MakeChild& make);
void add_selectors(const MakeChild& make, Builder& out);
/// What of ours the peer's answer has narrowed it to (RFC 7296 §2.9).
std::expected<SelectorLists, std::string> narrowed(const MakeChild& make, const Message& answer);
/// Why what an answer has been narrowed to is too much for a pair of SAs; nullopt: it is not.
std::optional<std::string> no_room(const SelectorLists& made);
/// Whether something is left of it without the addresses that nobody has given (yet).
[[nodiscard]] bool addresses_known(const Core& core, const IkeSa& sa, std::size_t child);
/// Those of its suites that this SA's path carries: no AH through a NAT.
std::vector<EspSuite> usable_suites(const IkeSa& sa, const config::Child& child);
/// In words: "aes128gcm16, aes256-sha256".
std::string suites_text(const std::vector<EspSuite>& suites);

/// The peer's wish for a CHILD SA, as its request has it.
struct Wish {
  const Sa& offered;
  const TsI& ts_i;
  const TsR& ts_r;
  bool transport = false;      ///< USE_TRANSPORT_MODE
  bool pfs = true;             ///< false: in IKE_AUTH
  DhGroup ke = DhGroup::None;  ///< of the KE payload
  const Child* rekeyed = nullptr;
  bool grouped = false;   ///< SA_RESOURCE_INFO
  bool named = false;     ///< ... which names a resource: there is one for all already, as the peer knows it
  bool unpadded = false;  ///< ESP_TFC_PADDING_NOT_SUPPORTED
};
struct Granted {
  NewPair pair;  ///< without keys
  Sa reply;
};
struct ChildRefusal {
  NotifyType notify{};
  Bytes data;  ///< of INVALID_KE_PAYLOAD
  Reason reason{};
  std::string text;
  std::optional<std::size_t> child;  ///< whose proposals did not fit
  Cause cause{};
};
/// Which configured child it is, and with what. An SPI is taken for it.
std::expected<Granted, ChildRefusal> grant(Core& core, IkeSa& sa, const Wish& wish);

/// The addresses of ESP beside IKE's: ports 0 without encapsulation.
[[nodiscard]] Path esp_path(Path path, const ike::NatStatus& nat);
/// Its keys.
void derive_pair(const IkeSa& sa, NewPair& pair, Role role, ByteView nonce_i, ByteView nonce_r, const SecretBytes* shared,
                 ByteView more = {});
/// Puts the inbound half into the data plane; the job that is answered then.
JobId install_inbound(Core& core, IkeSa& sa, NewPair& pair);
/// The inbound half is in: the pair is one of the SA's from now on. `wait`: our outbound half waits for the peer.
Child& pair_up(Core& core, TimePoint now, IkeSa& sa, NewPair pair, Role role, Exchange exchange, bool wait);
/// Both sides have made the same at once: of the pair whose exchange has the lowest nonce its maker sees to it that it goes, as with
/// rekeyings.
void settle_rivals(Core& core, TimePoint now, IkeSa& sa, std::uint64_t ours, std::uint64_t theirs);
/// The pair of the other side's making that was made at the same time as this one; nullptr: none.
[[nodiscard]] Child* rival_of(IkeSa& sa, const Child& child);
/// The peer deletes it, as its maker. We do when its Delete does not come: it may have been lost with an IKE SA that was rekeyed meanwhile.
void leave_to_peer(Core& core, TimePoint now, IkeSa& sa, Child& child);
/// The peer asks for something else, `id` or lower ones: it has all of our answers that it has no more requests beyond than the window lets
/// it (RFC 7296 §2.3). What was made anew is sent by, of those that were settled the other one; what an operator has ended meanwhile can
/// go. Of a rekeying its Delete tells.
void release_answered(Core& core, TimePoint now, IkeSa& sa, std::uint32_t id);
/// The outbound half of one that has waited.
void release_outbound(Core& core, TimePoint now, IkeSa& sa, Child& child);
/// What was never more than an inbound half.
void forget_pair(Core& core, const NewPair& pair, bool installed);
/// Takes it out of the data plane at once.
void remove_child(Core& core, IkeSa& sa, std::uint64_t pair);
void remove_children(Core& core, IkeSa& sa);
/// Deleted by both sides: nothing is sent by it any more; what is on its way still comes in.
void end_child(Core& core, TimePoint now, IkeSa& sa, Child& child);
/// All under an SA that is about to be closed: the peer sends by it until it has the Delete, and that is taken in until it has answered.
void stop_sending(Core& core, TimePoint now, IkeSa& sa);
/// The living pair that replaces another; nullptr: none.
[[nodiscard]] Child* heir_of(IkeSa& sa, std::uint64_t pair);
/// A pair that has an heir waits for the peer to delete it.
void replaced_by_heir(Core& core, TimePoint now, IkeSa& sa, std::uint64_t pair);
/// Where another pair carries something of a new one's traffic, or is about to, the new one, if it is of the peer's making, is sent by when
/// the peer has shown that it has our answer.
[[nodiscard]] bool carried_by_another(Core& core, const IkeSa& sa, const NewPair& pair);
/// Before what carries the traffic is sent by no more, a pair or all under an SA: packets go on with the youngest other one that is sent by
/// (the data plane sees to that); if there is none, with what has waited for a sign of the peer until now (doubles.cpp).
void go_on_without(Core& core, TimePoint now, const IkeSa& sa, const Child& child);
void go_on_without(Core& core, TimePoint now, const IkeSa& sa);
/// Whether it is in the place of what it stands for no more, since another one has it.
[[nodiscard]] bool outlived(const IkeSa& sa, const Child& child);
/// Of several for the same thing each is rekeyed soon.
void hasten_doubles(TimePoint now, IkeSa& sa, Child& made);
/// Our outbound half of one that waits.
void send_or_wait(Core& core, TimePoint now, IkeSa& sa, Child& child);
/// The newest pair that lives, of those for all workers.
[[nodiscard]] const Child* newest_live(const IkeSa& sa, std::size_t child);

void child_failed(Core& core, TimePoint now, std::size_t connection, std::size_t child);

}  // namespace culvert::ikev2
