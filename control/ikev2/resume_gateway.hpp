// IKE_SESSION_RESUME, gateway: which tickets are taken. A part of resume.hpp.
#pragma once

#include "control/ikev2/core.hpp"

namespace culvert::ikev2 {

void on_resume_request(Core& core, const Incoming& in);

}  // namespace culvert::ikev2
