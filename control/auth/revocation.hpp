// Whether the certificates of a path were revoked: by the lists that are configured, else by asking where they say (OCSP, then lists),
// at last by a list that the peer itself has sent: it could keep a newer one back.
// Owns the order of the questions, what was learnt and how long it holds. Computes in other threads and fetches by a function that it
// is given: the event loop never waits. Only places named by certificates that already lead to a trusted authority are asked, and
// only after the peer has proven to have the key.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "control/auth/credentials.hpp"
#include "control/crypto/revocation.hpp"

namespace culvert::control::auth {

/// One question over HTTP: GET, or POST with a body.
struct Fetch {
  std::string url;
  std::string type;  ///< of the body
  Bytes body;
  std::size_t max = 0;  ///< bytes of the answer
};
using Fetched = std::function<void(std::expected<Bytes, std::string>)>;  ///< the error says why not, for an operator

class Revocation {
 public:
  struct Hooks {
    std::function<bool(std::function<void()>)> compute;  ///< does the work in another thread; false: too much waits already
    std::function<void(std::function<void()>)> post;     ///< into the loop's thread, later; from any thread
    std::function<void(Fetch, Fetched)> fetch;           ///< answered once, later, in the loop's thread
    std::function<crypto::WallTime()> now;
  };
  using Done = std::function<void(std::optional<crypto::Refusal>)>;

  explicit Revocation(Hooks hooks);
  ~Revocation();
  Revocation(const Revocation&) = delete;
  Revocation& operator=(const Revocation&) = delete;

  /// `path` from the end entity to the anchor, which itself is not asked about. A path of one is a certificate that is trusted as it is:
  /// nobody can be asked about it, so `strict` refuses it, and so does a configured list of the issuer that it names.
  /// `done` is called once, later, in the loop's thread.
  void check(std::vector<crypto::Certificate> path, TrustPtr trust, Done done, std::vector<crypto::RevocationList> sent = {});

  static constexpr std::size_t kMaxFetches = 64;            ///< at a time
  static constexpr std::size_t kMaxQueued = 1024;           ///< questions that wait for one of these
  static constexpr std::chrono::seconds kQueueHolds{2};     ///< for so long
  static constexpr std::size_t kMaxKept = 256;              ///< lists, answers, failures each
  static constexpr std::chrono::seconds kFailureHolds{30};  ///< a place that failed is not asked again before
  static constexpr std::chrono::minutes kAnswerHolds{5};    ///< one that says nothing of its end
  static constexpr std::chrono::hours kMostAnswerHolds{1};  ///< at most: one that is revoked is noticed in an hour
  static constexpr std::chrono::hours kListHolds{24};       ///< at most: a list that is replaced early is noticed in a day
  static constexpr std::chrono::seconds kPatience{15};      ///< for all questions of a path: then the peer has given up

 private:
  struct Job;
  struct Place;
  using JobPtr = std::shared_ptr<Job>;
  template <class T>
  struct Kept {
    T value;
    crypto::WallTime until;
  };
  template <class T>
  using Table = std::map<std::string, Kept<T>>;

  struct Question {
    std::string key;
    Fetch what;
    std::function<void(Bytes)> use;
    crypto::WallTime since;
  };

  void advance(const JobPtr& job);
  void ask_alone(const JobPtr& job);
  void ask_files(const JobPtr& job);
  void ask_responder(const JobPtr& job);
  void ask_list(const JobPtr& job);
  bool ask_sent(const JobPtr& job);
  void ask_lists(const JobPtr& job, std::vector<crypto::RevocationList> lists);
  void pass_over(const JobPtr& job, crypto::Status status);
  void judge(const JobPtr& job, crypto::Status status);
  void conclude(const JobPtr& job);
  void refuse(const JobPtr& job, const std::string& why);
  void finish(const JobPtr& job, std::optional<crypto::Refusal> refusal);
  static std::string key_of(const Job& job);
  /// Runs `work` in another thread and `then` with its result in the loop's; `otherwise` if nobody can.
  template <class T>
  void compute(std::function<T()> work, std::function<void(T)> then, std::function<void(std::string)> otherwise);
  /// Fetches once for all that want the same; each then advances by itself.
  void obtain(const JobPtr& job, const std::string& key, Fetch what, std::function<void(Bytes)> use);
  std::function<void(std::string)> gives_up(const JobPtr& job);
  std::function<void(std::string)> gives_up(const std::string& key);
  void give_up(const std::string& key, const std::string& why);
  void next_question();
  void failed(const std::string& key, std::string why);
  void wake(const std::string& key);
  template <class T>
  void keep(Table<T>& table, const std::string& key, T value, crypto::WallTime until);
  template <class T>
  const T* kept(Table<T>& table, const std::string& key);

  Hooks hooks_;
  Table<crypto::RevocationList> lists_;                 ///< by URL and issuer
  Table<crypto::Status> answers_;                       ///< by URL, issuer and serial number
  Table<std::string> failures_;                         ///< by the same
  std::map<std::string, std::vector<JobPtr>> waiting_;  ///< for what is asked, or stands in the queue
  std::deque<Question> queue_;
};

}  // namespace culvert::control::auth
