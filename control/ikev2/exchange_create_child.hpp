// CREATE_CHILD_SA (RFC 7296 §1.3): new and rekeyed CHILD SAs, and rekeyed IKE SAs.
// Owns what becomes of two rekeyings of the same SA at once: of the four nonces the lowest one says whose SA goes (§2.8.1, §2.8.2).
//
//   [N(REKEY_SA)] SA Ni [KEi] TSi TSr  -->  <--  SA Nr [KEr] TSi TSr                    SA Ni KEi  -->  <--  SA Nr KEr
//   with additional key exchanges, nothing is made before those are done (exchange_followup.hpp)
#pragma once

#include "control/ikev2/children.hpp"
#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

// -------------------------------------------------------------------------------------------- what IKE_AUTH shares

/// SA and TS of a CHILD SA that we ask for. `pfs`: with a group in the proposals.
void add_child_wish(Core& core, const IkeSa& sa, const MakeChild& make, bool pfs, Builder& out);
/// SA and TS of one that we grant.
void add_child_answer(const AnsweringChild& what, Builder& out);
/// The answer to our wish in IKE_AUTH: the SA's request is at work on it from here on.
void take_child_answer(Core& core, TimePoint now, IkeSa& sa, MakeChild make, const Message& message);

// -------------------------------------------------------------------------------------------- our requests

/// Begins it; the task has been found worth it. The SA has no other request under way.
void begin_new_child(Core& core, TimePoint now, IkeSa& sa, const Task& task);
void on_create_child_response(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
void on_request_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result, JobId job);
void on_request_installed(Core& core, TimePoint now, IkeSa& sa, JobId job, bool ok, const std::string& error);
/// It has failed for good; or it is tried again soon, since the peer is busy.
void request_failed(Core& core, TimePoint now, IkeSa& sa, Reason reason, const std::string& text, Cause cause = {});
void request_put_off(Core& core, TimePoint now, IkeSa& sa);
/// The peer has refused it with an error.
void child_refused(Core& core, TimePoint now, IkeSa& sa, const MakeChild& make, const Notify& n);
/// Has a key pair made for it: on_request_dh goes on.
void make_request_key(Core& core, IkeSa& sa, Request& request, DhGroup group);
/// What a request of ours holds is given back; it is none any more.
void abandon_request(Core& core, IkeSa& sa);

// -------------------------------------------------------------------------------------------- the peer's requests

void on_create_child_request(Core& core, const Incoming& in, IkeSa& sa, const Message& message);
void on_answering_dh(Core& core, TimePoint now, IkeSa& sa, const ike::DhResult& result);
void on_answering_installed(Core& core, TimePoint now, IkeSa& sa, bool ok, const std::string& error);
void abandon_answering(Core& core, IkeSa& sa);
/// All key exchanges for a new IKE SA are done: it is there, and the answer, in `exchange`, says the last of it.
void answer_ike(Core& core, TimePoint now, IkeSa& sa, const AnsweringIke& what, std::uint32_t id, const FollowUpKeys& keys,
                const Builder& last, std::uint8_t exchange);

/// A new IKE SA in the place of this one, whose CHILD SAs it gets unless `keep`.
IkeSa& succeed(Core& core, TimePoint now, IkeSa& old, Role role, const IkeSuite& suite, IkeSpi spi_i, IkeSpi spi_r, ByteView nonce_i,
               ByteView nonce_r, const FollowUpKeys& keys);
/// The peer uses the SA to which it has rekeyed: whatever comes of our own rekeying, this is the one.
void take_place(Core& core, TimePoint now, IkeSa& sa);
void inherit(Core& core, TimePoint now, IkeSa& old, IkeSa& heir);

}  // namespace culvert::ikev2
