#include "control/ikev2/childless.hpp"

#include <algorithm>

#include "control/ikev2/configuration.hpp"
#include "control/ikev2/lifecycle.hpp"

namespace culvert::ikev2 {

namespace {
using config::Childless;

Childless manner(const Core& core, const IkeSa& sa) { return core.connection(sa).renewal.childless; }
}  // namespace

bool takes_childless(const Core& core, const std::vector<std::size_t>& meant) {
  return std::ranges::any_of(meant,
                             [&](std::size_t index) { return core.config.connections[index].renewal.childless != Childless::Never; });
}

std::optional<AuthVerdict> childless_refused(const Core& core, const IkeSa& sa, const Message& request) {
  if (request.find<Sa>() || manner(core, sa) != Childless::Never) return std::nullopt;
  return AuthVerdict{.reason = Reason::BadPayloads,
                     .text = "The peer asks for no CHILD SA in IKE_AUTH, and the connection has childless: never.",
                     .cause = {.number = 3},
                     .connection = sa.connection};
}

std::optional<ChildRefusal> must_be_apart(const Core& core, const IkeSa& sa) {
  if (manner(core, sa) != Childless::Force) return std::nullopt;
  return ChildRefusal{NotifyType::NoProposalChosen,
                      {},
                      Reason::NoProposalChosen,
                      "The peer asks for a CHILD SA in IKE_AUTH, and the connection has childless: force.",
                      {},
                      {.number = 3}};
}

std::optional<std::string> settle_childless(const Core& core, IkeSa& sa, const Message& reply) {
  const Childless how = manner(core, sa);
  const bool can = reply.notify(NotifyType::ChildlessIkev2Supported) != nullptr;
  if (!can && (how == Childless::Force || sa.childless))
    return std::string("The peer does not say that IKE_AUTH can go without a CHILD SA (CHILDLESS_IKEV2_SUPPORTED), and ") +
           (how == Childless::Force ? "the connection has childless: force." : "there is none to be made.");
  sa.childless = sa.childless || (can && (how == Childless::Force || how == Childless::Prefer));
  return std::nullopt;
}

void go_on_childless(Core& core, TimePoint now, IkeSa& sa, const Message& reply) {
  const bool wants = !core.connection(sa).vips.empty();
  if (!wants || take_address(core, sa, reply)) return;
  const Notify* error = reply.error();
  const std::string said = error ? " (" + name(error->type) + ")" : "";
  Run& run = core.run(sa.connection);
  for (std::size_t i = 0; i < run.children.size(); ++i)
    if (run.children[i].persistent || run.children[i].requested) child_failed(core, now, sa.connection, i);
  core.ended(now, sa, Exchange::IkeAuth, Role::Initiator, Reason::NoAddress, "The gateway gives us no virtual address" + said + ".", {},
             {.number = 4,
              .evidence = ike::PoolEvidence{"", "the gateway gives no address"},
              .said = error ? name(error->type) : "",
              .said_proven = error != nullptr,
              .by = ike::RefusedBy::Peer});
  close_sa(core, now, sa, Reason::NoAddress, "The IKE SA has no virtual address, and is of no use without.");
}

}  // namespace culvert::ikev2
