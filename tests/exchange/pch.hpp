// common/pch/test.hpp, and what most tests of IKEv2 here include.
#pragma once

#include "common/pch/test.hpp"
#include "control/ikev2/core.hpp"
#include "tests/exchange/ikev2_sites.hpp"
#include "tests/exchange/insider_gateway.hpp"
#include "tests/exchange/insider_v2.hpp"
#include "tests/exchange/radius_world.hpp"
#include "tests/exchange/remote_access.hpp"
