// What `culvert` and `culvertd` say to each other over the Unix stream socket: one JSON object a line, requests and replies
// in turn. This page is the schema; scripts may rely on it (fields are added, never renamed). Owns no code but the limits.
//
// Request   {"command": NAME, "args": {...}}                    at most kMaxRequest bytes
// Reply     {"ok": true, "result": {...}}                       exit code 0
//           {"ok": false, "error": {"code": CODE, "message": TEXT}}      CODE: bad_request | unknown | failed | timeout | busy
// After     {"command": "log", "args": {"follow": true}} come lines {"ok": true, "event": {...}} until the client leaves.
//
// Ages and times to come are in seconds (`..._s`, fractions possible), null where there is none; bytes are those of inner packets.
//
// list-conns {}                                                 `culvert list-conns -o json` prints the result:
//   {"dataplane": {"connected"},
//    "connections": [{"connection","up","peers","connecting": null | {"for_s","unanswered_message": null | 1 | 3 | 5},
//                     "vrf" (outside),"local_addrs":[],"remote_addrs":[],"local_id","remote_id","proposals":[],
//                     "failure": null | {"exchange","reason","help","message","age_s"},
//                     "children": [{"child","up","local_ts","remote_ts","esp_proposals":[],"start_action",
//                                   "vrf" (inside),"tunnel": null | NAME,"failure"}]}]}
// list-sas {"connection"?}
//   {"dataplane": {"connected"},
//    "ike_sas": [{"id","connection","state":"connecting|established|rekeyed|deleting","role":"initiator|responder",
//                 "initiator_spi","responder_spi" (16 hex digits),"local","remote" ("ADDRESS:PORT"),"local_id","remote_id","suite",
//                 "vrf" (outside),"xauth_user": null | TEXT,"virtual_address": null | ADDRESS (the first of them),
//                 "virtual_addresses":[] (with IKEv2 one of each family),
//                 "given":{"dns":[],"networks":[]} (what the peer says beside the address that it gives us),
//                 "nat":{"local","remote","forced"},"vendor_ids":[],"age_s","rekey_in_s","reauth_in_s","expires_in_s",
//                 "children":[CHILD]}],
//    "pairs_without_ike_sa": [{"connection","children":[CHILD]}],
//    "orphans": [{"connection","child","direction":"in|out","spi","suite","local","remote","local_ts","remote_ts","age_s",...DIRECTION}]}
//   CHILD: {"child","state":"negotiating|installing|installed|rekeyed|deleting","role","adopted","worker": null | n (whose packets
//           alone it is for),"pair","spi_in","spi_out" (8 hex digits),
//           "suite","protocol":"esp|ah","mode":"tunnel|transport","esn","encap":"native|udp","vrf"
//           (inside),"local_ts","remote_ts","age_s","rekey_in_s","expires_in_s", "in": null | DIRECTION,"out": null | DIRECTION}
//   "suite" is null while it is not agreed. "adopted" pairs are of a culvertd before this one, their "role" is null; "orphans" are what
//   the data plane has from it besides.
//   DIRECTION: {"packets","bytes","sequence","worker","idle_s",TOTALS}; null while the SA is not installed
//   TOTALS: {"packets","bytes","drops":{REASON: n, "other": n}, of "in" alone: "gaps":{"lost","reordered","duplicated"}}
// list-pools {"leases"?: bool}
//   {"pools": [{"pool","vrf","size","online","offline","leases"?: [{"address","identity","online"}]}]}
// list-certs {"connection"?}
//   {"certificates": [{"connection","role":"own|intermediate|authority|peer","subject","names":[],"issuer","serial","key",
//                      "not_before","not_after" (seconds since 1970),"begins_in_s","ends_in_s"}],
//    "problems": [{"connection","side":"local|remote","message"}]}
// initiate {"connection","child"?,"timeout_s"? (default 15)}    {"message","connection","children":[{"child","up"}]}
// terminate {"connection","child"?,"peer"?}                     {"message"}     peer: an identity or an address; absent: all of them
// redirect {"connection","gateway"? (absent: newcomers are sent nowhere any more),"peer"?,"newcomers"?: bool}    {"message"}
// sync-counters {"connection","peer"?}                          {"message"}     begun; how it ends is in the log
// rekey {"connection","child"?,"peer"?,"ike"?: bool,"reauth"?: bool}  {"message"}
// counters {}
//   {"workers":
//   [{"worker","rx_packets","tx_packets","polls","busy_polls","sleeps","busy_cycles","handoff_in","handoff_out","parcels","spread_out",
//     "spread_full","spread_in","spread_late","spread_oldest_s" (the age of its oldest parcel under way, null: there is
//     none),"generated","consumed", "drops":{REASON: n},"nodes": [{"node","help","packets","cycles"}] (of the passes that were measured,
//     one in 64)}],
//    "manager": {"generated","consumed","drops":{REASON: n}},   only while the data plane is attached, as what is in workers, ports, drops
//    and rings "ports":
//    [{"port","up","link_changes","mtu","flow_rules","flow_refused","rx_packets","rx_bytes","tx_packets","tx_bytes","rx_missed","rx_errors","tx_errors","rx_nombuf"}],
//    "drops": [{"reason","help","total"}],
//    "children": [{"connection","child","in": TOTALS,"out": TOTALS}],
//    "rings": [{"ring","fill","capacity","full"}],
//    "exchanges": [{"exchange","role","reason","count"}]}
// log {"follow"?: bool,"connection"?,"level"? (default "info"),"lines"? (default 100)}
//   {"events": [{"seq","ts","level","event","connection"?,"child"?,"peer"?,"vrf"? (of the peer, where there are
//   several),"exchange"?,"role"?,"reason"?}]}
// debug {"target"? (a connection, or a peer's address),"vrf"? (of the address; absent: the default one),"for_s"? (default 600; 1 to
//        86400),"off"?: bool}
//   {"message","also_in": [VRF] (the address is another peer there),"watches": [{"connection","peer","vrf","for_s"}]}     without a target:
//   the list. Lines of those watched have level "debug" and are written whatever control.log.level says.
// explain {"connection"?,"peer"? (an address),"vrf"? (of the address; absent: the default one)}
//   without a connection and a peer: strangers, of whom no connection knows, of all VRFs or of one
//   {"dataplane": {"connected"}, "vrf": null | VRF,"also_in": [VRF] (the peer's address is somebody else's there),"strangers": [FAILURE],
//    "connections": [{"connection","state":"up|connecting|down","vrf" (outside),"for_s","unanswered_message",
//                     "peers": [{"remote","remote_id","local_id","suite","role","for_s","nat"}],
//                     "children": [{"child","state":"up|down","for_s","suite","nothing_in_for_s" (null, unless packets go out meanwhile),
//                                   "vrf" (inside),"local_ts","remote_ts","waits_s","waits_for": null |
//                                   "data_plane|answer|retry|phase1|begin|operator|traffic|peer|peer_or_operator"}],
//                     "failures": [FAILURE] (the latest first)}]}
//   FAILURE: {"child","age_s","first_age_s","count","mended_age_s" (it worked again then),"exchange","message_number","role",
//             "by":"us|peer|nobody","peer","vrf" (of the peer),"reason","message","said" (the peer's notification),"said_proven",
//             "causes": [{"cause","text"}] (the likeliest first; names: control/explain/causes.cpp),"head":[],"rows":[[]] (both sides),
//             "yaml":[] (lines that would accept it),"note","evidence": {"kind":"none|proposal|identity|certificate|selectors|addresses|
//             secret|user|pool", ...}}      the fields of evidence: control/cli/server/explain.cpp
// trace-packet {"source","destination" (addresses),"protocol"? (a name or number; default "icmp"),"source_port"?,"destination_port"?,
//               "size"? (default 84),"ttl"? (default 64),"df"?: bool,"port"? (where it arrives),
//               "vrf"? (where it arrives, without port and connection),"connection"?,"child"? (it comes under the inbound SA of this
//               child)}
//   {"verdict":"encrypted|clear|here|dropped","port" (it leaves by),"reason" (of "dropped"),"help",
//    "steps": [{"step":"arrives|arrives_under_sa|is_for_us|inbound_policy|ttl|route|outbound_policy|leaves_under_sa|size|neighbor|leaves",
//               "text"}]}
// capture {"connection","child"?,"outer"?: bool,"inner"?: bool (neither: both),"count"? (default 1000 copies),"bytes"? (default 2000, of
//          each),"every"? (default 1: each packet),"for_s"? (default 60; to 3600)}
//   {"begin": {"tunnel"}}, then a line each
//   {"packet": {"time_ns" (since 1970),"direction":"in|out","layer":"outer|inner","connection","child","spi","port" (of outer ones),
//               "worker","number" (the same of both copies),"length","data" (hex)}}, at last
//   {"end": {"why","copies","missed" (for want of room)}}
// trace {"connection","child"?,"next"? (default 10 packets),"for_s"? (default 60; to 3600)}
//   {"begin": {"tunnel"}}, then a line each
//   {"path": {"time_ns","direction","connection","child","spi","worker","number", and what trace-packet answers; "verdict" may be
//             "elsewhere", too: another worker goes on with it, or its fragments do}}, at last {"end": {"why","copies","missed"}}
// version {} {"version","pid","dataplane":{"connected","boot_id","workers","ports","sa_capacity"}}
#pragma once

#include <chrono>
#include <cstddef>

namespace culvert::control::cli {

inline constexpr std::size_t kMaxRequest = 64 * 1024;     ///< bytes of one request line
inline constexpr std::size_t kMaxClients = 64;            ///< the one that is idle longest makes room for the next
inline constexpr std::chrono::seconds kIdleTimeout{30};   ///< for a whole request to arrive
inline constexpr std::chrono::seconds kWriteTimeout{10};  ///< for a client to take a reply
inline constexpr const char* kDefaultSocket = "/run/culvert/culvertd.sock";
inline constexpr double kDefaultInitiateTimeout = 15;  ///< seconds
inline constexpr double kMaxInitiateTimeout = 600;
inline constexpr double kDefaultCapture = 60, kDefaultCopies = 1000, kMaxCopies = 1e6, kDefaultPaths = 10;  ///< seconds, copies
inline constexpr double kDefaultDebug = 600, kMaxDebug = 86400;                                             ///< seconds

}  // namespace culvert::control::cli
