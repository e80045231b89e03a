// The records of failures: bounded, like ones counted together, mended by success, strangers kept apart.
#include "control/ike/failure.hpp"

#include <catch2/catch.hpp>

using namespace culvert;
using namespace culvert::ike;
using namespace std::chrono_literals;

namespace {
const TimePoint kNow = TimePoint{} + 1000s;

Failure failure(TimePoint when, Exchange exchange, Role role, Reason reason, Evidence evidence = {}, const char* peer = "10.9.0.2") {
  Failure f;
  f.when = when;
  f.exchange = exchange;
  f.role = role;
  f.reason = reason;
  f.by = usual_refuser(reason);
  f.peer = Endpoint{IpAddress::parse(peer).value(), 500};
  f.cause.evidence = std::move(evidence);
  return f;
}
Failure child_failure(TimePoint when, const char* child, Reason reason) {
  Failure f = failure(when, Exchange::QuickMode, Role::Initiator, reason);
  f.child = child;
  return f;
}
}  // namespace

TEST_CASE("failures like an earlier one are counted with it, and become the newest", "[failure]") {
  FailureBook book;
  book.add("c", failure(kNow, Exchange::MainMode, Role::Initiator, Reason::Timeout));
  book.add("c", failure(kNow + 1s, Exchange::MainMode, Role::Initiator, Reason::AuthFailed));
  book.add("c", failure(kNow + 2s, Exchange::MainMode, Role::Initiator, Reason::Timeout));
  const auto all = book.of("c");
  REQUIRE(all.size() == 2);
  CHECK(all[0].reason == Reason::Timeout);
  CHECK(all[0].count == 2);
  CHECK(all[0].first == kNow);
  CHECK(all[0].when == kNow + 2s);
  CHECK(all[1].count == 1);
  CHECK(book.of("d").empty());
  CHECK(book.counts()[static_cast<std::size_t>(Reason::Timeout)] == 2);
}

TEST_CASE("other evidence, another peer or another message is another failure", "[failure]") {
  FailureBook book;
  book.add("c", failure(kNow, Exchange::MainMode, Role::Initiator, Reason::WrongIdentity, IdentityEvidence{"a", "b"}));
  book.add("c", failure(kNow, Exchange::MainMode, Role::Initiator, Reason::WrongIdentity, IdentityEvidence{"a", "c"}));
  book.add("c", failure(kNow, Exchange::MainMode, Role::Initiator, Reason::WrongIdentity, IdentityEvidence{"a", "b"}, "10.9.0.3"));
  Failure other = failure(kNow, Exchange::MainMode, Role::Initiator, Reason::WrongIdentity, IdentityEvidence{"a", "b"});
  other.cause.number = 6;
  book.add("c", other);
  CHECK(book.of("c").size() == 4);
}

TEST_CASE("success marks failures, and the next one is counted from one again", "[failure]") {
  FailureBook book;
  book.add("c", failure(kNow, Exchange::MainMode, Role::Initiator, Reason::Timeout));
  book.add("c", child_failure(kNow, "net", Reason::PeerSelectorMismatch));
  book.add("c", child_failure(kNow, "other", Reason::PeerSelectorMismatch));
  CHECK(book.current("c", "")->reason == Reason::Timeout);
  book.mended(kNow + 1s, "c", "", std::nullopt, Role::Initiator);
  CHECK_FALSE(book.current("c", ""));
  CHECK(book.current("c", "net"));
  book.mended(kNow + 2s, "c", "net", std::nullopt, Role::Initiator);
  CHECK_FALSE(book.current("c", "net"));
  CHECK(book.current("c", "other"));
  CHECK(book.of("c").size() == 3);  // still there to be read
  CHECK(book.of("c")[2].mended == kNow + 1s);
  book.add("c", failure(kNow + 9s, Exchange::MainMode, Role::Initiator, Reason::Timeout));
  CHECK(book.current("c", "")->count == 1);
  CHECK(book.current("c", "")->first == kNow + 9s);
}

TEST_CASE("of many peers, only the one that came up is mended", "[failure]") {
  FailureBook book;
  book.add("c", failure(kNow, Exchange::MainMode, Role::Responder, Reason::AuthFailed, {}, "10.9.0.2"));
  book.add("c", failure(kNow, Exchange::MainMode, Role::Responder, Reason::AuthFailed, {}, "10.9.0.3"));
  book.mended(kNow, "c", "", IpAddress::parse("10.9.0.3").value(), Role::Responder);
  REQUIRE(book.current("c", ""));
  CHECK(book.current("c", "")->peer->address.to_string() == "10.9.0.2");
}

TEST_CASE("bounded: strangers push out strangers only, and a flood nobody", "[failure]") {
  FailureBook book;
  book.add("c", child_failure(kNow, "net", Reason::PeerNoProposal));
  for (int i = 0; i < 500; ++i)
    book.add("c",
             failure(kNow, Exchange::MainMode, Role::Responder, Reason::NoProposalChosen, ProposalEvidence{std::to_string(i), "", "", {}}));
  CHECK(book.of("c").size() == FailureBook::kPerConnection + 1);
  CHECK(book.current("c", "net"));
  for (int i = 0; i < 500; ++i) book.add("c", child_failure(kNow, std::to_string(i).c_str(), Reason::PeerNoProposal));
  CHECK(book.of("c").size() == 2 * FailureBook::kPerConnection);

  book.add_stranger(failure(kNow, Exchange::MainMode, Role::Responder, Reason::NoConnection), true);
  for (int i = 0; i < 500; ++i)
    book.add_stranger(failure(kNow, Exchange::MainMode, Role::Responder, Reason::NoConnection, AddressEvidence{"", std::to_string(i), ""}),
                      false);
  book.add_stranger(failure(kNow + 1s, Exchange::MainMode, Role::Responder, Reason::NoConnection), false);
  REQUIRE(book.strangers().size() == 1);
  CHECK(book.strangers()[0].count == 2);
  for (int i = 0; i < 500; ++i)
    book.add_stranger(failure(kNow, Exchange::MainMode, Role::Responder, Reason::NoConnection, AddressEvidence{"", std::to_string(i), ""}),
                      true);
  CHECK(book.strangers().size() == FailureBook::kStrangers);
}

TEST_CASE("what a peer asked of no child is over when it gets one", "[failure]") {
  FailureBook book;
  book.add("c", failure(kNow, Exchange::QuickMode, Role::Responder, Reason::SelectorMismatch));
  book.mended(kNow, "c", "", std::nullopt, Role::Responder);  // phase 1 says nothing about it
  CHECK(book.current("c", ""));
  book.mended(kNow, "c", "net", std::nullopt, Role::Initiator);  // nor does what we asked
  CHECK(book.current("c", ""));
  book.mended(kNow, "c", "net", std::nullopt, Role::Responder);
  CHECK_FALSE(book.current("c", ""));
}

TEST_CASE("IKEv2: what strangers can cause, and what is about a child", "[failure][ikev2]") {
  const auto of = [](Exchange exchange, Role role, Reason reason, Evidence evidence = {}, const char* child = "") {
    Failure f = failure(kNow, exchange, role, reason, std::move(evidence));
    f.child = child;
    return f;
  };
  const ProposalEvidence proposal{"a", "b", "c", {}};
  const SelectorEvidence selectors{};
  CHECK(of(Exchange::IkeSaInit, Role::Responder, Reason::NoProposalChosen, proposal).strangers());
  CHECK_FALSE(of(Exchange::IkeSaInit, Role::Responder, Reason::NoProposalChosen, proposal).about_child());
  CHECK_FALSE(of(Exchange::IkeSaInit, Role::Initiator, Reason::Timeout).strangers());
  CHECK(of(Exchange::IkeAuth, Role::Responder, Reason::AuthFailed, SecretEvidence{}).strangers());
  CHECK_FALSE(of(Exchange::IkeAuth, Role::Responder, Reason::AuthFailed, SecretEvidence{}).about_child());
  // Whoever is refused a child in IKE_AUTH has proved who he is.
  CHECK_FALSE(of(Exchange::IkeAuth, Role::Responder, Reason::NoProposalChosen, proposal, "net").strangers());
  CHECK_FALSE(of(Exchange::IkeAuth, Role::Responder, Reason::SelectorMismatch, selectors).strangers());
  CHECK(of(Exchange::IkeAuth, Role::Responder, Reason::SelectorMismatch, selectors).about_child());
  CHECK(of(Exchange::IkeAuth, Role::Responder, Reason::InstallFailed, {}, "net").about_child());
  CHECK(of(Exchange::CreateChildSa, Role::Responder, Reason::SelectorMismatch, selectors).about_child());
  CHECK(of(Exchange::CreateChildSa, Role::Initiator, Reason::PeerNoProposal, proposal, "net").about_child());
  CHECK_FALSE(of(Exchange::CreateChildSa, Role::Responder, Reason::NoProposalChosen).about_child());  // the rekeying of the IKE SA
  CHECK_FALSE(of(Exchange::CreateChildSa, Role::Responder, Reason::NoProposalChosen).strangers());
}

TEST_CASE("IKEv2: networks that no child has are over when a child is there, not when the IKE SA is", "[failure][ikev2]") {
  FailureBook book;
  const Exchange exchange = GENERATE(Exchange::IkeAuth, Exchange::CreateChildSa);
  book.add("c", failure(kNow, exchange, Role::Responder, Reason::SelectorMismatch, SelectorEvidence{}));
  book.mended(kNow, "c", "", std::nullopt, Role::Responder);
  CHECK(book.current("c", ""));
  book.mended(kNow, "c", "net", std::nullopt, Role::Responder);
  CHECK_FALSE(book.current("c", ""));
}
