// Sections of schema.cpp's that stand in schema_ikev2.cpp. Owns nothing else.
#pragma once

#include "common/config/section.hpp"

namespace culvert::config {

Section<Ppk> ppk_section();
Section<CounterSync> counter_sync_section();
Section<Window> window_section();
Section<Redirection> redirection_section();
Section<Resumption> resumption_section();
Section<Renewal> renewal_section();
Section<PerCpu> per_cpu_section();

}  // namespace culvert::config
