// A host that has the keys and misuses them: an engine of ours whose messages are changed after they are made and before they are sealed.
// What proves a message is made anew for what it says then: HASH(1), (2) and (3) of IKEv1, and HASH_I, HASH_R and AUTH by a pre-shared key
// for another identity. What is in clear is changed before the engine takes it for its own, so that AUTH of IKEv2 covers it.
//
// The engine knows nothing of it: programs with this file are linked with --wrap (seams.txt) of the functions that seal, hash and open.
// One Insider at a time.
#pragma once

#include <deque>
#include <functional>
#include <set>
#include <vector>

#include "control/ikev1/keymat.hpp"
#include "control/ikev2/keymat.hpp"
#include "tests/exchange/tamper/changes.hpp"
#include "tests/exchange/world.hpp"

namespace culvert::test::tamper {

/// A proof, and how to make it for something else.
struct Recipe {
  Bytes proof;
  std::function<Bytes(ByteView)> make;
};
const Recipe* find(const std::deque<Recipe>& book, ByteView proof);

class Insider {
 public:
  Insider(Host& insider, Host& victim, std::vector<Change> changes);
  ~Insider();
  Insider(const Insider&) = delete;
  Insider& operator=(const Insider&) = delete;

  /// A message of the insider's.
  struct Sent {
    std::uint8_t version = 1, exchange = 0;
    bool sealed = false, changed = false;
    bool authentic = false;  ///< the victim has found it to be: opened it (IKEv2), or made the same HASH (IKEv1)
  };
  std::vector<Sent> sent;
  /// SPIs (initiator cookies) of IKE SAs for which the insider has proved nothing: its proof was changed.
  std::set<std::uint64_t> forged;

  // For the seams alone.
  static Insider* at_work();
  [[nodiscard]] bool speaking() const { return acting_ == &insider_; }
  [[nodiscard]] bool listening() const { return acting_ == &victim_; }
  void remember(std::deque<Recipe>& book, Bytes proof, std::function<Bytes(ByteView)> make);
  /// The victim has come to the same.
  void seen(ByteView proof);
  struct Altered {
    std::uint8_t first = 0;
    Bytes chain;
  };
  Altered alter_v1(std::uint8_t first, ByteView chain);
  Altered alter(ike::Header& header, std::uint8_t first, ByteView chain, bool sealed);
  /// IKEv1: the header of what was sealed last.
  void finish(ike::Header& header);
  void sealed_as(ByteView proof);
  std::deque<Recipe> hashes, identities, octets, auths;
  std::uint8_t first_v1 = 0;    ///< of the chain that was written last
  bool sealing_v2 = false;      ///< its header is written meanwhile
  Bytes last_said, last_meant;  ///< the chain that was changed last: as sent, as made
  std::uint8_t last_first = 0;

 private:
  HeaderChange change(std::size_t number, Chain& chain, bool& proven);
  void prove(const Chain& meant, Chain& said) const;
  void note_forgery(const ike::Header& header, const Chain& meant, const Chain& said);

  Host &insider_, &victim_;
  Host* acting_ = nullptr;
  std::vector<Change> changes_;
  std::vector<Chain> past_;
  std::set<std::uint64_t> proven_;                     ///< SPIs of Aggressive Modes
  std::vector<std::pair<Bytes, std::size_t>> proofs_;  ///< by which the victim may show that it takes a message for authentic
  struct Pending {
    HeaderChange header;
    std::uint8_t first = 0;
    Chain meant, said;
  };
  std::optional<Pending> pending_;
};

}  // namespace culvert::test::tamper
